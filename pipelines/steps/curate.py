"""The step `curate`: decisions from statistics, and from what the step `contamination` found.

It reads of documents the counts that its rules name, never their text. Decisions of a recipe that has no rules any more
are dropped before the first step: every document counts again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import drop_fields
from mnemic.rules.values import CONTAMINATED, OF_COLUMNS
from operators.curate.operator import Curate
from operators.edits import MATCHES, Edits
from pipelines.identity import Record
from pipelines.steps.contracts import Context, Step
from pipelines.steps.grow import Compute, GrowStep

CONTAMINATION = "contamination"
GROWN = {"decision": "curate", "edits": "edits", "subset": "subset", **{column: column for column in OF_COLUMNS}}
"""Columns of documents that follow from the section `curate`, and the steps that grow them."""

AT_ONCE = 512
"""Fragments in a commit: one takes milliseconds, and a commit as many."""

ROWS = 65536
"""Rows that are judged at once: a batch costs half a millisecond beside a microsecond a row."""


@dataclass(frozen=True)
class CurateStep(GrowStep):
    """Grows `decision`."""

    operator: Curate

    def run(self, context: Context) -> None:
        super().run(replace(context, commit_every=max(context.commit_every, AT_ONCE)))

    def described(self) -> Record:
        """The record with the rules, so that a bank says by which it decided, whatever a preset becomes."""
        return replace(self.record, found={"rules": [rule.as_json() for rule in self.operator.decided_by]})

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        deciding = super().factory(context, before)
        if CONTAMINATION not in self.after:
            return deciding
        store, version = context.store, context.store[CONTAMINATION].require().version

        def with_matches() -> Compute:
            decide, counting = deciding(), matches_counted(store[CONTAMINATION].require(version))
            return lambda batch: decide(counting(batch))

        return with_matches


def matches_counted(contamination: Snapshot) -> Compute:
    """Adds the column `CONTAMINATED` to documents: how many rows of ``contamination`` each has."""
    rows = contamination.table(["document"])["document"]
    counted = rows.value_counts() if len(rows) else None

    def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
        counts = pa.array(np.zeros(batch.num_rows), pa.float64())
        if counted is not None:
            place = pc.index_in(batch["id"], value_set=counted.field("values"))
            counts = pc.fill_null(counted.field("counts").take(place).cast(pa.float64()), 0.0)
        return batch.append_column(CONTAMINATED, counts)

    return compute


def curate_step(record: Record, operator: Curate, after: tuple[str, ...]) -> CurateStep:
    """The step of the section `curate`."""
    ids = ("id",) if CONTAMINATION in after else ()
    source = ("source",) if operator.planted else ()
    return CurateStep(record, operator, "documents", (*ids, *source, *operator.columns_read), after, rows_at_once=ROWS)


@dataclass(frozen=True)
class EditsStep(GrowStep):
    """Grows `edits`."""

    operator: Edits

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        editing = super().factory(context, before)
        if not self.operator.contamination:
            return editing
        store, version = context.store, context.store[CONTAMINATION].require().version

        def with_matches() -> Compute:
            edit = editing()
            spans: dict[str, list[dict[str, int]]] = {}
            for row in store[CONTAMINATION].require(version).table(["document", "start", "end"]).to_pylist():
                spans.setdefault(row.pop("document"), []).append(row)

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                matches = pa.array([spans.get(one, []) for one in batch["id"].to_pylist()], _SPANS)
                return edit(batch.append_column(MATCHES, matches))

            return compute

        return with_matches


_SPANS = pa.list_(pa.struct([pa.field("start", pa.int64()), pa.field("end", pa.int64())]))


def edits_step(record: Record, operator: Edits, after: tuple[str, ...]) -> EditsStep:
    """The step of the section `edits`."""
    source = ("source",) if operator.planted else ()
    return EditsStep(record, operator, "documents", ("id", *source, "text"), after)


def undecided(store: Store, steps: Iterable[Step]) -> list[tuple[str, list[str]]]:
    """Datasets, with the columns of them that follow from the recipe's `curate` and that no step of it grows."""
    names, columns = {step.name for step in steps}, []
    for dataset in ("documents", "units"):
        snapshot = store[dataset].snapshot()
        there = set() if snapshot is None else {name for name in GROWN if snapshot.column_record(name)}
        columns.append((dataset, [name for name, step in GROWN.items() if name in there and step not in names]))
    return [(dataset, left) for dataset, left in columns if left]


def forget_decisions(context: Context, steps: Iterable[Step]) -> None:
    """Drop decisions and edits that the recipe no longer asks for."""
    for dataset, columns in undecided(context.store, steps):
        context.commit(partial(drop_fields, context.store[dataset], columns))
