"""The step `blocks`: a feed-forward block for every node of the cluster tree with enough text.

1. One worker counts the tokens of each leaf and plans the jobs: one for each subtree of level 1, one for the fallback,
   and, where the recipe asks for them, one for the control and one for the block that those of level 1 begin with.
2. Any worker trains an epoch of a job and writes a checkpoint, a row of `memories` that is not final, so a kill costs
   at most an epoch of the jobs under way. After its last epoch it writes the blocks instead.
3. When all jobs have their blocks, the memory is one final row of `memories`, with its lock on the model.

A row of `blocks` names the state that its job was trained for: fingerprint, blocks and documents. So new documents
train the jobs that they are of, and the others stay; jobs that begin with a shared block are all trained again.

Where the model's own matrices learn with the shared block (`model_rate`), their change is a row of `blocks` too, which
the shared job writes behind its last epoch. All other jobs wait for it, and are trained beside it as it is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.blocks.layout import GENERIC, MODEL, NO_TOPICS, SHARED, BlockLayout
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, append_rows, write_records
from mnemic.facts import mapping
from mnemic.ids import hash_parts
from mnemic.memories.blocks import NAME
from mnemic.quoting import one_of, quoted
from mnemic.schema import BLOCKS, MEMORIES, METRICS
from operators.blocks.operator import TrainBlocks
from operators.blocks.plan import BEGINNING_ALONE, BlockJob, not_waiting, settings_of
from operators.train import Checkpoint
from pipelines import faults
from pipelines.corpus_reader import corpus_digest
from pipelines.identity import Record
from pipelines.steps.block_jobs import EpochToTrain, block_rows, close_runners, runner_of
from pipelines.steps.block_texts import SESSIONS, TRAINING, BlockPlan, BlockTexts
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.memory_rows import (
    checkpoint_row,
    checkpoint_state,
    create_missing,
    curve_rows,
    drop,
    drop_points,
    final_row,
    finished_record,
    forget_memory,
    forget_versions,
    last_epochs,
)
from pipelines.steps.owners import owned_rows

_SCHEMAS = {"blocks": BLOCKS, "memories": MEMORIES, "metrics": METRICS}
_SUMS = ("trained_tokens", "training_flops")


@dataclass(frozen=True)
class TrainedEpoch:
    """Rows of `metrics`, and of `memories` (a checkpoint) or, after the last epoch, of `blocks`; not committed.

    Of the shared job both may be there.
    """

    job: str
    state: str
    epoch: int
    curve: tuple[WrittenFragment, ...]
    checkpoint: tuple[WrittenFragment, ...]
    blocks: tuple[WrittenFragment, ...]
    rows: int  # of `blocks`


@dataclass(frozen=True)
class BlocksStep(RecordedStep):
    operator: TrainBlocks
    after: tuple[str, ...]
    memory: str = NAME
    datasets: tuple[str, ...] = ("blocks", "memories", "metrics")

    def state(self, store: Store) -> Status:
        documents, events = store["documents"].snapshot(), store["events"].snapshot()
        if documents is None or events is None or "split" not in documents.schema.names:
            return Status("new")
        if "cluster" not in events.schema.names:
            return Status("new")
        total = documents.count(TRAINING)
        stored = finished_record(store["memories"].snapshot(), self.name, self.memory)
        if total == 0:
            return Status("due" if stored else "done", 0, 0, "documents", ("there is no text to train on",))
        if stored is None:
            return Status("new", total, total, "documents")
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", total, total, "documents", tuple(changes))
        if stored["corpus"] != self._with_corpus(documents, events).corpus:
            return Status("due", total, total, "documents", ("the text that it looks at changed",))
        return Status("done", 0, total, "documents")

    def _mine(self, memories: Snapshot) -> str:
        return owned_rows(memories, self.name, self.memory)

    def _with_corpus(self, documents: Snapshot, events: Snapshot) -> Record:
        """The documents that train, and the leaves of all."""
        texts = corpus_digest(documents, ("id",), TRAINING)[0]
        leaves = corpus_digest(events, ("document", "id", "cluster"), f"{SESSIONS} AND cluster IS NOT NULL")[0]
        return replace(self.record, corpus=hash_parts("blocks", texts, leaves))

    def run(self, context: Context) -> None:
        store = context.store
        documents, events = store["documents"].require(), store["events"].require()
        record = self._with_corpus(documents, events)
        versions = {"documents": documents.version, "events": events.version}
        create_missing(context, record, _SCHEMAS)
        if documents.count(TRAINING) == 0:
            self.forget(context)
            return
        plan = self._plan(context, versions)
        states = {job.name: self._state_of(record, job, plan) for job in plan.jobs}
        self._clear(context, record, states)
        try:
            self._train(context, versions, plan, states)
        finally:
            close_runners()
        self._finish(context, record, plan, states)

    def _state_of(self, record: Record, job: BlockJob, plan: BlockPlan) -> str:
        """The hash of what the blocks of ``job`` are valid for."""
        form = json.dumps([dict(job.blocks), plan.shape.layout(self.operator, plan.rows).config()], sort_keys=True)
        return hash_parts("block job", record.fingerprint, job.name, form, job.documents)

    def _plan(self, context: Context, versions: Mapping[str, int]) -> BlockPlan:
        store, operator, wanted_device = context.store, self.operator, context.device

        def plan() -> BlockPlan:
            device = operator.resources.device(wanted_device)
            model, _ = languagemodel.shared(operator.model, operator.dtype, device)
            levels = store["clusters"].require().table(["level"])["level"].to_pylist()
            return BlockTexts.open(store, versions, operator).plan(max(levels, default=0), model)

        return context.computed(plan, operator.resources)

    def _clear(self, context: Context, record: Record, states: Mapping[str, str]) -> None:
        """Drop what no longer holds: blocks and checkpoints of other states, and points of no checkpoint."""
        store, current = context.store, one_of("state", [*states.values(), record.state])
        drop(context, "blocks", f"NOT ({current})")
        drop(context, "memories", f"{self._mine(store['memories'].require())} AND NOT ({current})")
        drop(context, "metrics", f"memory = '{self.memory}' AND NOT ({current})")
        if self.operator.model_rate:
            self._clear_change(context, states)
        drop_points(context, self.memory, {states[job]: done for job, done in self._left(store, states).items()})

    def _clear_change(self, context: Context, states: Mapping[str, str]) -> None:
        """Drop the change of the model where the block that learnt with it is missing, and that block without it.

        A kill between their commits parts them; jobs that have begun need the change alone.
        """
        store = context.store
        trained = set(store["blocks"].require().table(["job"])["job"].to_pylist())
        epochs = last_epochs(store["memories"].require(), self.name, self.memory)
        whole = epochs.get(states.get(SHARED, "")) == self.operator.shared_epochs
        beginning = any(job not in {*trained, *BEGINNING_ALONE} and not epochs.get(states[job]) for job in states)
        if SHARED in trained and beginning and not whole:
            drop(context, "blocks", f"job = '{SHARED}'")
        if SHARED not in trained and whole:
            drop(context, "memories", f"NOT final AND state = {quoted(states[SHARED])}")

    def _left(self, store: Store, states: Mapping[str, str]) -> dict[str, int]:
        """The jobs that are not finished, and the epochs that they have.

        The shared block is finished where no job waits for it: with its last epoch, or when all have begun. Where it
        changes the model, it is finished with the row of the change.
        """
        trained = set(store["blocks"].require().table(["job"])["job"].to_pylist())
        epochs = last_epochs(store["memories"].require(), self.name, self.memory)
        left = {job: epochs.get(state, 0) for job, state in states.items() if job not in trained}
        waiting = any(done == 0 for job, done in left.items() if job not in BEGINNING_ALONE)
        done = not waiting or left.get(SHARED) == self.operator.shared_epochs
        if done and not self.operator.model_rate:
            left.pop(SHARED, None)
        return left

    def _train(self, context: Context, versions: Mapping[str, int], plan: BlockPlan, states: Mapping[str, str]) -> None:
        """Train epoch after epoch of all jobs that are not finished, whichever worker takes which."""
        store = context.store
        nodes = tuple(path for job in plan.jobs for path in job.blocks if path not in NO_TOPICS)
        layout = plan.shape.layout(self.operator, plan.rows)
        last = {job.name: settings_of(job.name, self.operator).epochs for job in plan.jobs}
        total, epochs = sum(last.values()), self._left(store, states)

        def keep(wave: list[TrainedEpoch]) -> None:
            for one in wave:
                self._commit(context, one)
                epochs[one.job] = one.epoch
                if one.epoch == last[one.job]:
                    del epochs[one.job]
                context.tally.rows += one.rows
            context.progress(total - sum(last[name] - done for name, done in epochs.items()), total, "epochs")

        factory = self._worker(context, versions)
        jobs = {job.name: job for job in plan.jobs}
        begins = dict.fromkeys(jobs.keys() - {*BEGINNING_ALONE}, states.get(SHARED, ""))
        while epochs:
            due = not_waiting(self.operator) if SHARED in epochs else tuple(epochs)
            items = [
                EpochToTrain(jobs[name], states[name], epochs[name], nodes, layout, begins.get(name, ""))
                for name in sorted(epochs)
                if name in due
            ]
            work = context.job(factory, self.operator.resources, lambda item: f"the blocks of {item.job.name}")
            one_by_one = replace(context, commit_every=1)
            one_by_one.in_waves(context.engine.map(work, items), keep)

    def _commit(self, context: Context, one: TrainedEpoch) -> None:
        """Commit an epoch, then drop the checkpoint before it."""
        store, properties = context.store, context.properties(self.record)
        for name, fragments in (("metrics", one.curve), ("blocks", one.blocks), ("memories", one.checkpoint)):
            if fragments:
                context.commit(partial(append, store[name], fragments, properties))
        before = f" AND epoch < {one.epoch}" if one.checkpoint else ""
        drop(context, "memories", f"NOT final AND state = {quoted(one.state)}{before}")

    def _worker(
        self, context: Context, versions: Mapping[str, int]
    ) -> Callable[[], Callable[[EpochToTrain], TrainedEpoch]]:
        store, operator, step, wanted_device = context.store, self.operator, self, context.device
        key = hash_parts("runner", store.root, self.record.fingerprint, json.dumps(dict(versions), sort_keys=True))

        def factory() -> Callable[[EpochToTrain], TrainedEpoch]:
            device = operator.resources.device(wanted_device)
            runner = runner_of(key, operator, BlockTexts.open(store, versions, operator), device)

            def train(item: EpochToTrain) -> TrainedEpoch:
                memories, begin, change = store["memories"].require(), None, None
                state = checkpoint_state(memories, item.state, item.epochs) if item.epochs else None
                if item.begin and state is None:
                    begin = checkpoint_state(memories, item.begin, operator.shared_epochs)
                if operator.model_rate and item.job.name != SHARED:
                    change = store["blocks"].require().table(["weights"], f"path = '{MODEL}'")["weights"][0].as_py()
                checkpoint, blocks, rounding = runner.epoch(item, state, begin, change)
                rows = block_rows(item, checkpoint, blocks, rounding)
                faults.reach(step.name, "before-write")
                curve = step._write(store, "metrics", step._curve(item, checkpoint))
                later = not rows or item.job.name == SHARED
                saving = step._write(store, "memories", [step._checkpoint(item, checkpoint)] if later else [])
                finished = step._write(store, "blocks", rows)
                faults.reach(step.name, "after-write")
                return TrainedEpoch(item.job.name, item.state, checkpoint.epoch, curve, saving, finished, len(rows))

            return train

        return factory

    def _write(self, store: Store, name: str, rows: list[dict[str, Any]]) -> tuple[WrittenFragment, ...]:
        return write_records(store[name], rows, _SCHEMAS[name])

    def _curve(self, item: EpochToTrain, checkpoint: Checkpoint) -> list[dict[str, Any]]:
        return curve_rows(self.memory, item.state, checkpoint, item.job.name)

    def _checkpoint(self, item: EpochToTrain, checkpoint: Checkpoint) -> dict[str, Any]:
        own = checkpoint_row(self.memory, self.memory, self.record, item.state, checkpoint, checkpoint.state)
        return {
            **own,
            "id": hash_parts("checkpoint", item.state, self.memory, item.job.name, checkpoint.epoch),
            "config": json.dumps({"job": item.job.name}),
        }

    def _finish(self, context: Context, record: Record, plan: BlockPlan, states: Mapping[str, str]) -> None:
        """Write the memory, once all its blocks are there: by its row the step is done, so it comes last."""
        memories, store = context.store["memories"], context.store
        mine = self._mine(memories.require())
        drop(context, "memories", f"{mine} AND state <> {quoted(record.state)}")
        if (store["blocks"].require().record or {}).get("state") != record.state:
            context.commit(lambda: store["blocks"].annotate(record.as_json()))
        if not memories.require().count(f"{mine} AND final"):
            row = self._memory(context, record, plan)
            context.commit(lambda: append_rows(memories, row, MEMORIES, context.properties(record)))
        forget_versions(store)

    def _memory(self, context: Context, record: Record, plan: BlockPlan) -> pa.Table:
        """The final row, whose lock a worker reads off the model."""
        operator, wanted_device = self.operator, context.device

        def lock() -> dict[str, str]:
            device = operator.resources.device(wanted_device)
            return languagemodel.lock(*languagemodel.shared(operator.model, operator.dtype, device))

        layout = plan.shape.layout(operator, plan.rows)
        config, metrics = layout.config() | {"sequence": operator.sequence}, self._metrics(context.store, layout)
        lock_of_model = context.computed(lock, operator.resources)
        return final_row(self.memory, record, operator.epochs, lock_of_model, config, metrics)

    def _metrics(self, store: Store, layout: BlockLayout) -> dict[str, float]:
        """Of all jobs together; rounding weighs them by their tokens. The costs of the shared one are in the others."""
        columns = ["path", "rows", "job", "metrics"]
        rows = store["blocks"].require().table(columns, f"job <> '{SHARED}'").to_pylist()
        jobs = {row["job"]: mapping(row["metrics"], "The metrics of a block") for row in rows}
        parameters = sum(layout.numbers(row["rows"]) for row in rows if row["path"] not in GENERIC)
        sums = {name: float(sum(job[name] for job in jobs.values())) for name in _SUMS}
        tokens = max(sums["trained_tokens"], 1.0)
        rounding = sum(job["rounding_loss"] * job["trained_tokens"] for job in jobs.values())
        return {
            "weight": 1.0,
            "blocks": float(len(rows)),
            "parameters": float(parameters),
            "fetched_parameters": float(layout.numbers(sum(layout.rows))),
            "train_loss": sum(job["train_loss"] * job["trained_tokens"] for job in jobs.values()) / tokens,
            "rounding_loss": rounding / tokens,
            **sums,
        }

    def forget(self, context: Context) -> None:
        forget_memory(context, self.name, self.memory, "blocks")
