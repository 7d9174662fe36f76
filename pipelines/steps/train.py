"""Train a parametric memory into `memories`, and its curves into `metrics`.

Several steps share the two datasets, each with the rows of one memory: a row carries the record of the step that made
it (`pipelines.steps.owners`), so that what changes for one memory leaves the others as they are. One worker trains, or
a process group, and the first writes each row; this process commits it. Every epoch ends with a checkpoint row, so a
kill costs at most one epoch; the last two and the best are kept while the training runs. The finished memory is the
best epoch, as one row with its lock on the model, its metrics and its weights; then the checkpoints go. Curves stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mnemic import languagemodel
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, write_records
from mnemic.facts import mapping
from mnemic.hardware import default_device
from mnemic.ids import hash_parts
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION
from mnemic.schema import MEMORIES, METRICS
from mnemic.splits import STORE, VALIDATION
from operators.contracts import ProcessRank, Progress
from operators.sections import RowKind
from operators.train import Checkpoint, Training, finished_weights
from pipelines import faults
from pipelines.corpus_reader import corpus_digest
from pipelines.engine import ResultStream
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.memory_rows import checkpoint_row, create_missing, curve_rows, drop, forget_versions
from pipelines.steps.owners import owned_rows

CHECKPOINTS_KEPT = 2
COST = ("trained_tokens", "training_flops")
"""Metrics that count all epochs, also those after the best."""


@dataclass(frozen=True)
class Trained:
    """A row of `memories` and rows of `metrics`, written and not committed."""

    fragments: tuple[WrittenFragment, ...]
    curve: tuple[WrittenFragment, ...]
    epoch: int
    rows: int  # that were trained on


@dataclass(frozen=True)
class TrainStep(RecordedStep):
    """Trains one memory from ``rows`` of the datastore and their teacher."""

    operator: Training
    after: tuple[str, ...]
    memory: str
    kind: str
    rows: RowKind

    @property
    def datasets(self) -> tuple[str, ...]:
        return ("memories", "metrics")

    def _mine(self, memories: Snapshot) -> str:
        """SQL for the rows of `memories` that are this step's."""
        return owned_rows(memories, self.name, self.memory)

    def state(self, store: Store) -> Status:
        datastore = store["datastore"].snapshot()
        if datastore is None:
            return Status("new")
        rows = datastore.count(STORE)
        memories = store["memories"].snapshot()
        if rows == 0:
            left = memories is not None and memories.count(self._mine(memories)) > 0
            return Status("due" if left else "done", 0, 0, "rows", ("the store is empty",))
        if "teacher_ids" not in datastore.schema.names:
            return Status("new")
        stored = None if memories is None else self._stored(memories)
        if memories is None or stored is None:
            return Status("new", rows, rows)
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", rows, rows, reasons=tuple(changes))
        record = self._with_corpus(datastore)
        if stored["corpus"] != record.corpus:
            return Status("due", rows, rows, reasons=("the rows that it looks at changed",))
        mine = self._mine(memories)
        if not memories.count(f"{mine} AND final"):
            done = f"{memories.count(mine)} of {self.operator.epochs} epochs done"
            return Status("pending", rows, rows, reasons=(done,))
        if memories.count(f"{mine} AND NOT final"):
            return Status("pending", 0, rows, reasons=("old checkpoints",))
        return Status("done", 0, rows)

    def _stored(self, memories: Snapshot) -> dict[str, Any] | None:
        """The record of the memory's rows; in banks older than several memories, that of the dataset."""
        if "record" not in memories.schema.names:
            return memories.record if memories.count(self._mine(memories)) else None
        records = memories.table(["record"], self._mine(memories))["record"].to_pylist()
        return mapping(records[-1], f"A record of {memories.uri}") if records else None

    def _with_corpus(self, datastore: Snapshot) -> Record:
        """The rows that it looks at, and what the teacher says of them: its masks may change where no row does."""
        used = f"{STORE} OR {VALIDATION}"
        teacher_state = (datastore.column_record("teacher_ids") or {}).get("state", "")
        rows = corpus_digest(datastore, (*CATALOGUE["datastore"].key, "split"), used)[0]
        return replace(self.record, corpus=hash_parts("trained", rows, teacher_state))

    def run(self, context: Context) -> None:
        datastore = context.store["datastore"].require()
        record = self._with_corpus(datastore)
        memories, metrics = (context.store[name] for name in self.datasets)
        self._clear(context, record)
        mine = self._mine(memories.require())
        if datastore.count(STORE) and not memories.require().count(f"{mine} AND final"):

            def keep(trained: Trained) -> None:
                """Commit an epoch, then drop the checkpoints before the last two, but for the best."""
                if trained.curve:
                    context.commit(lambda: append(metrics, trained.curve, context.properties(record)))
                context.commit(lambda: append(memories, trained.fragments, context.properties(record)))
                old = f"epoch <= {trained.epoch - CHECKPOINTS_KEPT} AND epoch <> {self._best_epoch(memories.require())}"
                context.commit(lambda: memories.delete(f"{mine} AND NOT final AND {old}"))
                context.tally.rows = trained.rows

            context.in_waves(self._results(context, record, datastore.version), lambda wave: None, keep)
        context.commit(lambda: self._forget_checkpoints(context.store))

    def _clear(self, context: Context, record: Record) -> None:
        """Make the datasets, and drop what no longer holds: rows of another state, and points of no checkpoint.

        A curve is committed before its checkpoint, so a kill between the two leaves points that the epoch makes again.
        """
        create_missing(context, record, {"memories": MEMORIES, "metrics": METRICS})
        memories = context.store["memories"]
        mine = self._mine(memories.require())
        drop(context, "memories", f"{mine} AND state <> '{record.state}'")
        last = self._last_epoch(memories.require()) if not memories.require().count(f"{mine} AND final") else None
        beyond = "" if last is None else f" OR epoch > {last}"
        drop(context, "metrics", f"memory = '{self.memory}' AND (state <> '{record.state}'{beyond})")

    def forget(self, context: Context) -> None:
        """Delete the memory and its curves."""
        drop(context, "metrics", f"memory = '{self.memory}'")
        memories = context.store["memories"].snapshot()
        if memories is not None:
            drop(context, "memories", self._mine(memories))

    def _results(self, context: Context, record: Record, version: int) -> ResultStream[Trained]:
        worker, processes = self._worker(context, record, version), self.operator.processes
        progress = partial(context.progress, unit="batches")
        if processes > 1:
            return context.engine.group(context.job(worker, self.operator.resources), processes, progress)

        def alone() -> Callable[[Progress], Iterator[Trained]]:
            train = worker()
            return lambda progress: train(progress, ProcessRank())

        return context.engine.stream(context.job(alone, self.operator.resources), progress)

    def _worker(
        self, context: Context, record: Record, version: int
    ) -> Callable[[], Callable[[Progress, ProcessRank], Iterator[Trained]]]:
        step, store, wanted_device = self, context.store, context.device

        def factory() -> Callable[[Progress, ProcessRank], Iterator[Trained]]:
            from pipelines.steps.training_rows import training_rows

            device = wanted_device or default_device()

            def train(progress: Progress, process: ProcessRank) -> Iterator[Trained]:
                rows, count = training_rows(store, version, step.operator, device, step.rows)
                memories = store["memories"].require()
                saved = step._checkpoint(memories, step._last_epoch(memories))
                final = step._checkpoint(memories, step._best_epoch(memories))
                state = saved.state if saved else None
                for checkpoint in step.operator.train(rows, state, device, progress, process):
                    saved = checkpoint
                    final = checkpoint if final is None or not _better(final, checkpoint) else final
                    yield step._write(store, step._row(record, checkpoint, checkpoint.state), checkpoint, record, count)
                if process.rank:
                    return  # rank 0 yields for all
                assert final is not None and saved is not None  # an operator trains for at least one epoch
                model, tokenizer = languagemodel.shared(step.operator.model, step.operator.dtype, device)
                lock = languagemodel.lock(model, tokenizer)
                computed = replace(record, found={"function": lock.pop("function")})  # no part of a bank's digest
                whole = replace(final, metrics=final.metrics | {name: saved.metrics[name] for name in COST})
                row = {
                    **step._row(computed, whole, final.weights),
                    "id": hash_parts("memory", record.state, step.memory),
                    "final": True,
                    "config": json.dumps(step.operator.config(len(languagemodel.blocks(model)))),
                    "lock": json.dumps(lock, sort_keys=True),
                }
                yield step._write(store, row, None, record, count)

            return train

        return factory

    def _write(
        self, store: Store, row: dict[str, Any], checkpoint: Checkpoint | None, record: Record, count: int
    ) -> Trained:
        faults.reach(self.name, "before-write")
        points = curve_rows(self.memory, record.state, checkpoint) if checkpoint else []
        memories, metrics = (store[name] for name in self.datasets)
        fragments, curve = write_records(memories, [row], MEMORIES), write_records(metrics, points, METRICS)
        faults.reach(self.name, "after-write")
        return Trained(fragments, curve, row["epoch"], count)

    def _row(self, record: Record, checkpoint: Checkpoint, weights: bytes) -> dict[str, Any]:
        weighed = replace(checkpoint, metrics={"weight": WEIGHT_WITHOUT_VALIDATION, **checkpoint.metrics})
        return checkpoint_row(self.memory, self.kind, record, record.state, weighed, weights)

    def _forget_checkpoints(self, store: Store) -> None:
        store["memories"].delete(f"{self._mine(store['memories'].require())} AND NOT final")
        forget_versions(store)

    def _last_epoch(self, memories: Snapshot) -> int:
        epochs = memories.table(["epoch"], f"{self._mine(memories)} AND NOT final")["epoch"].to_pylist()
        return int(max(epochs, default=0))

    def _best_epoch(self, memories: Snapshot) -> int:
        """The epoch of the best of the checkpoints, the first of equals; the last where nothing was validated."""
        checkpoints = memories.table(["epoch", "metrics"], f"{self._mine(memories)} AND NOT final").to_pylist()
        place, name = f"A checkpoint's metrics in {memories.uri}", "validation_perplexity"
        scores = [(mapping(row["metrics"], place).get(name), int(row["epoch"])) for row in checkpoints]
        validated = [(score, epoch) for score, epoch in scores if isinstance(score, int | float)]
        if len(validated) < len(scores):
            return max(epoch for _, epoch in scores)
        return min(validated, default=(0.0, 0))[1]

    def _checkpoint(self, memories: Snapshot, epoch: int) -> Checkpoint | None:
        if epoch == 0:
            return None
        where = f"{self._mine(memories)} AND NOT final AND epoch = {epoch}"
        row = memories.table(["epoch", "metrics", "weights"], where).to_pylist()[0]
        state: bytes = row["weights"]
        return Checkpoint(
            row["epoch"], finished_weights(state), state, mapping(row["metrics"], "A checkpoint's metrics")
        )


def _better(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether validation says that the earlier ``one`` is at least as good as ``other``; without it, no."""
    scores = [checkpoint.metrics.get("validation_perplexity") for checkpoint in (one, other)]
    return scores[0] is not None and scores[1] is not None and scores[0] <= scores[1]
