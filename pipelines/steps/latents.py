"""The steps `cartridges` and `memory_tokens`: latents, each of one text, in parallel jobs.

1. One worker reads the texts and chooses those of the right length; a longer one is a reject.
2. Any worker trains an epoch of a text and writes a checkpoint, a row of `memories` that is not final, so a kill costs
   at most an epoch of the texts under way. After its last epoch it writes the latent instead.
3. When all texts have theirs, the memory is one final row of `memories`, with its lock on the model.

A latent names the state that it holds for: settings, model and text. So a new document trains its own latent, a changed
one its own again, and the others stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, append, append_rows, write_records
from mnemic.errors import StepError
from mnemic.facts import mapping
from mnemic.ids import hash_parts
from mnemic.memories.cartridges import NAME as CARTRIDGES
from mnemic.memories.memory_tokens import NAME as MEMORY_TOKENS
from mnemic.quoting import quoted
from mnemic.schema import MEMORIES, METRICS
from operators.latents.settings import LatentSettings
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.latent_jobs import LatentToTrain, TrainedLatent, close_trainers, epoch_of, trainer_of
from pipelines.steps.latent_texts import ChosenTexts, LatentTexts, dataset_of
from pipelines.steps.memory_rows import (
    checkpoint_row,
    checkpoint_state,
    create_missing,
    curve_rows,
    drop,
    drop_other_states,
    drop_points,
    final_row,
    finished_record,
    forget_memory,
    forget_versions,
    last_epochs,
)
from pipelines.steps.owners import owned_rows
from pipelines.steps.rejects import forget_rejects

_LOT = 16
"""Texts that are trained at a time: the checkpoints of so many are there at once."""


@dataclass(frozen=True)
class LatentsStep(RecordedStep):
    operator: LatentSettings
    after: tuple[str, ...]
    memory: str
    datasets: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Datasets that the settings name."""
        return ("pages",) if self.operator.from_pages else ()

    def state(self, store: Store) -> Status:
        texts = LatentTexts.open(store, self.operator)
        if texts is None or texts.lacking:
            return Status("new")
        total = texts.count()
        stored = finished_record(store["memories"].snapshot(), self.name, self.memory)
        if stored is None:
            return Status("new", total, total, "texts")
        changes = self.record.changes_from(stored)
        if changes:
            return Status("stale", total, total, "texts", tuple(changes))
        if stored["corpus"] != texts.digest():
            return Status("due", total, total, "texts", ("the text that it looks at changed",))
        return Status("done", 0, total, "texts")

    def _mine(self, memories: Snapshot) -> str:
        return owned_rows(memories, self.name, self.memory)

    def run(self, context: Context) -> None:
        store = context.store
        texts = LatentTexts.open(store, self.operator)
        if texts is None:
            raise StepError(
                f"The section `{self.name}` is for texts of the level {self.operator.level}, and this bank has no "
                f"{dataset_of(self.operator.level)}; choose another `level`, or add the sections that make them."
            )
        if self.operator.from_pages:
            self._refuse_pages(texts.pages)
        record = replace(self.record, corpus=texts.digest())
        create_missing(context, record, self._schemas())
        chosen = self._chosen(context, texts.versions)
        states = {of: self._state_of(of, text) for of, text, _ in chosen.texts}
        self._clear(context, record, states)
        context.reject(record, chosen.rejects)
        try:
            self._train(context, texts.versions, states)
        finally:
            close_trainers()
        self._finish(context, record, chosen)

    def _refuse_pages(self, pages: Snapshot | None) -> None:
        """Raise `StepError` where latents cannot start from ``pages``."""
        fields = {} if pages is None else (pages.record or {}).get("fields") or {}
        if fields.get("model") != self.record.fields["model"]:
            fault = "this bank has none" if pages is None else "those of this bank are of another model"
            raise StepError(
                f"The section `{self.name}` starts from pages, and {fault}; add the section `pages` to the recipe, of "
                "the same language model, or leave `start` out."
            )

    def _schemas(self) -> dict[str, pa.Schema]:
        own = CATALOGUE[self.datasets[0]].schema
        assert isinstance(own, pa.Schema)
        own = pa.schema([*own, *self.operator.own_columns])
        return {self.datasets[0]: own, "memories": MEMORIES, "metrics": METRICS}

    def _state_of(self, of: str, text: str) -> str:
        """The hash of what a latent holds for: which texts have one, and what led to them, does not matter."""
        apart = ("level", "where", "most")
        fields = {name: value for name, value in self.record.fields.items() if name not in apart}
        return hash_parts("latent", self.name, self.record.version, json.dumps(fields, sort_keys=True), of, text)

    def _chosen(self, context: Context, versions: Mapping[str, int]) -> ChosenTexts:
        store, operator = context.store, self.operator

        def choose() -> ChosenTexts:
            texts = LatentTexts.open(store, operator, versions)
            assert texts is not None
            return texts.chosen()

        return context.computed(choose, operator.resources)

    def _clear(self, context: Context, record: Record, states: Mapping[str, str]) -> None:
        """Drop what no longer holds: latents and checkpoints of other states, and points of no checkpoint."""
        store, current = context.store, {*states.values()}
        drop_other_states(context, self.datasets[0], current)
        mine = self._mine(store["memories"].require())
        drop_other_states(context, "memories", {*current, record.state}, mine)
        drop_other_states(context, "metrics", current, f"memory = '{self.memory}'")
        trained, epochs = self._trained(store), self._epochs(store)
        left = {state: epochs.get(state, 0) for of, state in states.items() if of not in trained}
        drop_points(context, self.memory, left)
        outdated = f"step = '{self.name}' AND fingerprint <> '{record.fingerprint}'"
        rejects = store["rejects"].snapshot()
        if rejects is not None and rejects.count(outdated):
            context.commit(lambda: forget_rejects(store, outdated))

    def _trained(self, store: Store) -> set[str]:
        """The texts whose latents are there, of the states that stand."""
        return set(store[self.datasets[0]].require().table(["of"])["of"].to_pylist())

    def _epochs(self, store: Store) -> dict[str, int]:
        return last_epochs(store["memories"].require(), self.name, self.memory)

    def _train(self, context: Context, versions: Mapping[str, int], states: Mapping[str, str]) -> None:
        """Train epoch after epoch of the texts that have no latent yet, a lot at a time."""
        store = context.store
        trained, before = self._trained(store), self._epochs(store)
        left = [of for of in states if of not in trained]
        factory = self._worker(context, versions)
        for start in range(0, len(left), _LOT):
            epochs = {of: before.get(states[of], 0) for of in left[start : start + _LOT]}

            def keep(wave: list[TrainedLatent], epochs: dict[str, int] = epochs, start: int = start) -> None:
                for one in wave:
                    self._commit(context, one)
                    epochs[one.of] = one.epoch
                    if one.latent:
                        del epochs[one.of]
                        context.tally.rows += 1
                context.progress(
                    len(states) - len(left) + min(start + _LOT, len(left)) - len(epochs), len(states), "texts"
                )

            while epochs:
                items = [LatentToTrain(of, states[of], epochs[of]) for of in sorted(epochs)]
                work = context.job(factory, self.operator.resources, lambda item: f"the latent of {item.of}")
                one_by_one = replace(context, commit_every=1)
                one_by_one.in_waves(context.engine.map(work, items), keep)
            forget_versions(store)

    def _commit(self, context: Context, one: TrainedLatent) -> None:
        """Commit an epoch, then drop the checkpoint before it."""
        store, properties = context.store, context.properties(self.record)
        parts = (("metrics", one.curve), ("memories", one.checkpoint), (self.datasets[0], one.latent))
        for name, fragments in parts:
            if fragments:
                context.commit(partial(append, store[name], fragments, properties))
        before = "" if one.latent else f" AND epoch < {one.epoch}"
        drop(context, "memories", f"NOT final AND state = {quoted(one.state)}{before}")

    def _worker(
        self, context: Context, versions: Mapping[str, int]
    ) -> Callable[[], Callable[[LatentToTrain], TrainedLatent]]:
        store, operator, step, wanted_device = context.store, self.operator, self, context.device
        key = hash_parts("trainer", store.root, self.record.fingerprint)

        def factory() -> Callable[[LatentToTrain], TrainedLatent]:
            trainer = trainer_of(key, operator, operator.resources.device(wanted_device))
            texts = LatentTexts.open(store, operator, versions)
            assert texts is not None

            def train(item: LatentToTrain) -> TrainedLatent:
                state = checkpoint_state(store["memories"].require(), item.state, item.epochs) if item.epochs else None
                trained = epoch_of(trainer, texts, item, state)
                checkpoint = trained.checkpoint
                rows = [] if trained.row is None else [trained.row]
                faults.reach(step.name, "before-write")
                points = curve_rows(step.memory, item.state, checkpoint, item.of)
                curve = step._write(store, "metrics", points)
                own = checkpoint_row(step.memory, step.memory, step.record, item.state, checkpoint, checkpoint.state)
                saving = step._write(store, "memories", [] if rows else [own])
                finished = step._write(store, step.datasets[0], rows)
                faults.reach(step.name, "after-write")
                return TrainedLatent(item.of, item.state, checkpoint.epoch, curve, saving, finished)

            return train

        return factory

    def _write(self, store: Store, name: str, rows: list[dict[str, Any]]) -> tuple[WrittenFragment, ...]:
        return write_records(store[name], rows, self._schemas()[name])

    def _finish(self, context: Context, record: Record, chosen: ChosenTexts) -> None:
        """Write the memory, once all its latents are there: by its row the step is done, so it comes last."""
        memories, store = context.store["memories"], context.store
        mine, own = self._mine(memories.require()), self.datasets[0]
        drop(context, "memories", f"{mine} AND state <> {quoted(record.state)}")
        if (store[own].require().record or {}).get("state") != record.state:
            context.commit(lambda: store[own].annotate(record.as_json()))
        if not memories.require().count(f"{mine} AND final"):
            row = self._memory(context, record, chosen)
            context.commit(lambda: append_rows(memories, row, MEMORIES, context.properties(record)))
        forget_versions(store)

    def _memory(self, context: Context, record: Record, chosen: ChosenTexts) -> pa.Table:
        """The final row; a worker reads the lock off the model, and what stands before all latents."""
        operator, wanted_device, resources = self.operator, context.device, self.operator.resources

        def finish() -> tuple[dict[str, str], dict[str, Any], bytes]:
            model, tokenizer = languagemodel.shared(operator.model, operator.dtype, resources.device(wanted_device))
            return (languagemodel.lock(model, tokenizer), *operator.trainer(model, tokenizer).config())

        lock, config, weights = context.computed(finish, resources)
        metrics = self._metrics(context.store, chosen)
        return final_row(self.memory, record, operator.epochs, lock, config, metrics, weights)

    def _metrics(self, store: Store, chosen: ChosenTexts) -> dict[str, float]:
        """Of all latents together: means over them, and the costs of their trainings."""
        good = "ok" if self.datasets[0] == CARTRIDGES else "exact"
        means = ("loss_none", "loss_text", "loss", "kl_none", "kl_start", "kl") if good == "ok" else ("right",)
        rows = store[self.datasets[0]].require().table([good, "tokens", "metrics", *means]).to_pylist()
        costs = [mapping(row["metrics"], "The metrics of a latent") for row in rows]
        return {
            "weight": 1.0,
            "texts": float(len(rows)),
            "attached_texts": float(sum(row[good] for row in rows)),
            "left_out_texts": float(chosen.left_out),
            **{name: float(sum(row[name] for row in rows) / max(len(rows), 1)) for name in means},
            **{name: float(sum(one.get(name, 0.0) for one in costs)) for name in ("trained_tokens", "training_flops")},
        }

    def forget(self, context: Context) -> None:
        forget_memory(context, self.name, self.memory, self.datasets[0])


def cartridges_step(record: Record, operator: LatentSettings, after: tuple[str, ...]) -> LatentsStep:
    """The step that trains cartridges."""
    return LatentsStep(record, operator, after, CARTRIDGES, (CARTRIDGES, "memories", "metrics"))


def memory_tokens_step(record: Record, operator: LatentSettings, after: tuple[str, ...]) -> LatentsStep:
    """The step that trains memory tokens."""
    return LatentsStep(record, operator, after, MEMORY_TOKENS, (MEMORY_TOKENS, "memories", "metrics"))
