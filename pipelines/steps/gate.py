"""The step `gate`: the model's confidence in held-out tokens, then a gate for each set of memories.

The confidences are columns of the datastore with a record of their own, so they stay when a memory is trained again.
One worker then scores the validation rows by each memory, trains the gates in seconds and writes them all; a kill
costs those seconds. What the memories are is read from the head of the bank, since no release has them yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic.catalogue import CATALOGUE, DatasetSpec
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import WrittenFragment, write_whole
from mnemic.facts import mapping
from mnemic.ids import hash_parts
from mnemic.memories.gate_training import weigh
from mnemic.memories.gates import GATES, as_row
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.scored_rows import scored_by, scored_rows
from mnemic.memories.stored import StoredMemories
from mnemic.release import Release, current_versions
from mnemic.schema import GATES as SCHEMA
from mnemic.splits import VALIDATION
from mnemic.view import View
from operators.contracts import Progress, Resources
from operators.gate import GateTraining, sets_of
from pipelines import faults
from pipelines.corpus_reader import corpus_digest
from pipelines.identity import Record, resolved_fields
from pipelines.steps.confidence import confidence_step
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.grow import GrowStep


@dataclass(frozen=True)
class TrainedGate:
    """Rows of `gates`, written and not committed."""

    fragments: tuple[WrittenFragment, ...]
    rows: int


@dataclass(frozen=True)
class GateStep(RecordedStep):
    operator: GateTraining
    after: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return (GATES, "datastore")

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return (CATALOGUE[GATES],)

    @property
    def confidence(self) -> GrowStep:
        """The columns of the datastore, whose identity is that of what is read."""
        operator = self.operator.confidence
        fields = resolved_fields(operator)
        record = Record("confidence", operator.version, fields, {"datastore": self.record.reads["datastore"]})
        return confidence_step(record, operator, ("datastore",))

    def state(self, store: Store) -> Status:
        datastore = store["datastore"].snapshot()
        if datastore is None or "teacher_label" not in datastore.schema.names:
            return Status("new")
        sure = self.confidence.state(store)
        if not sure.done:
            return sure
        rows, gates = datastore.count(VALIDATION), store[GATES].snapshot()
        if gates is None:
            return Status("new", rows, rows)
        changes = self.record.changes_from(gates.record or {})
        if changes:
            return Status("stale", rows, rows, reasons=tuple(changes))
        if (gates.record or {}).get("corpus") != self._corpus(store, datastore):
            return Status("due", rows, rows, reasons=("the rows or the memories that it looks at changed",))
        return Status("done", 0, rows)

    def _corpus(self, store: Store, datastore: Snapshot) -> str:
        """The validation rows, and what each memory is made of."""
        rows = corpus_digest(datastore, (*CATALOGUE["datastore"].key, "split"), VALIDATION)[0]
        taught = (datastore.column_record("teacher_label") or {}).get("state", "")
        suffixes = store["suffixes"].snapshot() if "suffixes" in self.after else None
        index = "" if suffixes is None else str((suffixes.record or {}).get("state", ""))
        return hash_parts("gates", rows, taught, index, *self._trained(store))

    def _trained(self, store: Store) -> list[str]:
        """Ids of the memories that the steps before have trained; rows of others go at the next release."""
        memories = store["memories"].snapshot()
        if memories is None or "record" not in memories.schema.names:
            return []
        rows = memories.table(["id", "record"], "final = true").to_pylist()
        steps = {row["id"]: mapping(row["record"], f"The record of memory {row['id']}").get("step") for row in rows}
        return sorted(id for id, step in steps.items() if step in self.after)

    def run(self, context: Context) -> None:
        self.confidence.run(context)
        datastore = context.store["datastore"].require()
        record = replace(self.record, corpus=self._corpus(context.store, datastore))
        dataset = context.store[GATES]

        def keep(trained: TrainedGate) -> None:
            stored, properties = record.as_json(), context.properties(record)
            context.commit(lambda: dataset.replace(SCHEMA, trained.fragments, stored, properties))
            context.tally.rows += trained.rows

        job = context.job(self._worker(context.store, record), Resources(memory=2 << 30))
        context.in_waves(context.engine.stream(job, partial(context.progress, unit="gates")), lambda wave: None, keep)

    def _worker(self, store: Store, record: Record) -> Callable[[], Callable[[Progress], Iterator[TrainedGate]]]:
        step = self

        def factory() -> Callable[[Progress], Iterator[TrainedGate]]:
            def train(progress: Progress) -> Iterator[TrainedGate]:
                rows = list(step._rows(store, record, progress))
                table = pa.Table.from_pylist(rows, schema=SCHEMA)
                faults.reach(step.name, "before-write")
                fragments = tuple(write_whole(store[GATES], table))
                faults.reach(step.name, "after-write")
                yield TrainedGate(fragments, len(rows))

            return train

        return factory

    def _rows(self, store: Store, record: Record, progress: Progress) -> Iterator[dict[str, Any]]:
        view = self._head(store)
        memories, held_out = StoredMemories(view), HeldOutRows.read(view)
        if not len(held_out):
            return
        infos = [info for info in memories.infos if info.owner in self.after]
        every = {info.name: scored_by(memories.load(info.name), held_out) for info in infos}
        scored = {name: one for name, one in every.items() if one is not None}  # others act inside the model
        sets = sets_of([info for info in infos if info.name in scored])
        facts = {"record": json.dumps(record.as_json(), sort_keys=True), "state": record.state}
        for number, one in enumerate(sets):
            together = scored_rows(held_out, [scored[name] for name in sorted(info.name for info in one)])
            yield as_row(weigh(together, self.operator.settings), one, **facts)
            progress(number + 1, len(sets))

    def _head(self, store: Store) -> View:
        """The bank as it is now, as if it were released."""
        versions = current_versions(store, [spec for spec in CATALOGUE.values() if spec.name != GATES])
        counts = {name: store[name].require(version).count() for name, version in versions.items()}
        recipe = {"language_model": self.operator.model, "datastore": {"dtype": self.operator.dtype}}
        return View(store, Release("head", datetime.now(UTC), "", versions, counts, recipe, {}))
