"""Add columns to the rows of a dataset, fragment by fragment: the row steps, whose columns are functions of a row.

A row step is pending on the fragments that lack its columns. Corpus steps grow columns the same way once they have
decided (`pipelines.steps.fit`). One that asks about some rows only is also pending on fragments in which a row has come
to satisfy its condition, or does no more, because an earlier step decided anew; the other rows are not asked again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mnemic import inside
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import GrownFragment, add_fields, commit_growth, grow, pending
from mnemic.errors import StepError
from mnemic.kept import expand
from operators.contracts import Resources, RowOperator
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.answers import rows_and_rejects
from pipelines.steps.contracts import Context, RecordedStep, Status, require_columns

ROWS_AT_ONCE = 8192
"""Rows of a fragment that an operator gets in one batch; bounds its memory whatever the size of the fragment."""

Compute = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Computes columns. One that takes some from elsewhere counts those rows in its attribute ``reused``."""


@dataclass(frozen=True)
class GrownFragmentRows:
    grown: GrownFragment
    fragment: int
    rows: int
    seconds: float
    reused: int = 0


@dataclass(frozen=True)
class GrowStep(RecordedStep):
    """A row step that adds columns to ``dataset``, reading ``columns``.

    With ``whole_fragments`` the operator gets all rows of a fragment at once, else ``rows_at_once``. Rows that do not
    satisfy ``where`` get nulls, and the operator never sees them. In its rows the first column must not be null: null
    marks the rows that it does not see.
    """

    operator: RowOperator
    dataset: str
    columns: tuple[str, ...]
    after: tuple[str, ...]
    whole_fragments: bool = False
    where: str | None = None
    rows_at_once: int = ROWS_AT_ONCE

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.dataset,)

    def state(self, store: Store) -> Status:
        snapshot = store[self.dataset].snapshot()
        if snapshot is None:
            return Status("new")
        names = list(self.operator.output(snapshot.schema).names)
        return growth_state(snapshot, self.record, names, "", self.where)

    def run(self, context: Context) -> None:
        dataset = context.store[self.dataset]
        snapshot = dataset.require()
        require_columns(self.name, snapshot, self.dataset, self.columns)
        fields = self.operator.output(snapshot.schema)
        if not fields.names:
            raise StepError(f"The step {self.name} adds no column; let the operator's output name one at least.")
        full = [field.name for field in fields if not field.nullable]
        if self.where is not None and full:
            raise StepError(
                f"The step {self.name} asks about the rows of {self.dataset} with {self.where}, and gives the others "
                f"nulls, but {', '.join(full)} may hold none. Declare these fields nullable in the operator's output."
            )
        if must_add(snapshot, self.record, fields.names):
            context.commit(lambda: add_fields(dataset, fields, self.described().as_json()))
        factory = self.factory(context, snapshot)
        grow_columns(
            context,
            self.record,
            self.dataset,
            self.columns,
            fields.names,
            factory,
            self.operator.resources,
            None if self.whole_fragments else self.rows_at_once,
            where=self.where,
        )

    def described(self) -> Record:
        """The record that is stored with the columns."""
        return self.record

    def factory(self, context: Context, before: Snapshot) -> Callable[[], Compute]:
        """What makes the work of a worker. ``before`` is the dataset as it was when the step began."""
        operator, device, step, name = self.operator, context.device, self.name, self.dataset
        names = operator.output(before.schema).names

        def made() -> Compute:
            process = operator.open(operator.resources.device(device))

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                rows, rejects = rows_and_rejects(step, process(batch), names)
                if rejects.num_rows:
                    raise StepError(
                        f"The step {step} rejected a row of {name} ({rejects['reason'][0]}). A step that "
                        "adds columns must give every row a value; reject it where the row is made."
                    )
                return rows

            return compute

        return made


def grow_columns(
    context: Context,
    record: Record,
    name: str,
    columns: tuple[str, ...],
    names: list[str],
    factory: Callable[[], Compute],
    resources: Resources,
    rows_at_once: int | None = ROWS_AT_ONCE,
    located: bool = False,
    where: str | None = None,
) -> None:
    """Compute the columns ``names`` for every unfinished fragment of the dataset and commit them in waves.

    With ``located`` a batch also has `_rowid` and `_fragment`, for columns that come from elsewhere. Rows that do not
    satisfy ``where`` are not computed and get nulls.
    """
    dataset = context.store[name]
    snapshot = dataset.require()
    version, todo, step = snapshot.version, unfinished(snapshot, names, where), context.step
    sizes = {fragment.id: fragment.rows for fragment in snapshot.fragments}
    total, done, computed = sum(sizes[fragment] for fragment in todo), 0, 0

    def worker() -> Callable[[int], GrownFragmentRows]:
        compute = factory()
        pinned = dataset.require(version)

        def work(fragment: int) -> GrownFragmentRows:
            started, before = time.monotonic(), getattr(compute, "reused", 0)
            batches = list(pinned.scan(columns, fragments=[fragment], row_ids=True))
            rows = pa.Table.from_batches(batches).combine_chunks()
            place = pa.array([fragment] * len(rows), pa.int32())
            inputs = rows.append_column("_fragment", place) if located else rows.drop_columns(["_rowid"])

            def computed(part: pa.Table) -> pa.Table:
                batches = part.combine_chunks().to_batches(max_chunksize=rows_at_once)
                answers, rows_done = list[pa.RecordBatch](), 0
                for batch in batches:
                    with inside.told_as(rows_done.__add__):
                        answers.append(compute(batch))
                    rows_done += len(batch)
                    inside.tell(rows_done)
                values = pa.Table.from_batches(answers).select(names)
                if len(values) != len(part):
                    raise StepError(
                        f"The operator of step {step} returned {len(values)} rows for {len(part)}. "
                        "An operator that adds columns returns one row for each it gets, in the same order."
                    )
                return values

            if where is None:
                values = computed(inputs)
            else:
                values = _completed(pinned, fragment, where, names, inputs, rows["_rowid"], computed, step)
            faults.reach(step, "before-write")
            grown = grow(
                dataset.uri, version, fragment, values.append_column("_rowid", rows["_rowid"]), dataset.storage_options
            )
            faults.reach(step, "after-write")
            reused = getattr(compute, "reused", 0) - before
            pa.default_memory_pool().release_unused()
            return GrownFragmentRows(grown, fragment, len(rows), time.monotonic() - started, reused)

        return work

    def seen(outcome: GrownFragmentRows) -> None:
        """Report the rows that are computed; the commit reports those that are committed."""
        nonlocal computed
        reused = outcome.reused
        note = f"computed {outcome.rows - reused:,} rows, reused {reused:,} of an earlier release" if reused else ""
        context.emit("fragment", fragment=outcome.fragment, done=outcome.rows, seconds=outcome.seconds, message=note)
        computed += outcome.rows
        context.progress(computed, total)

    def commit(wave: list[GrownFragmentRows]) -> None:
        nonlocal done
        grown = [outcome.grown for outcome in wave]
        context.commit(lambda: commit_growth(dataset, version, grown, context.properties(record)))
        done += sum(outcome.rows for outcome in wave)
        context.tally.rows += sum(outcome.rows for outcome in wave)
        context.progress(done, total)

    job = context.job(worker, resources, f"fragment {{}} of {name}".format)
    with inside.heard_by(lambda rows: context.progress(min(computed + rows, total), total)):
        context.in_waves(context.engine.map(job, todo), commit, seen)


def _completed(
    snapshot: Snapshot,
    fragment: int,
    where: str,
    names: list[str],
    inputs: pa.Table,
    row_ids: pa.ChunkedArray,
    computed: Callable[[pa.Table], pa.Table],
    step: str,
) -> pa.Table:
    """The columns ``names`` for all rows of a fragment: null where ``where`` does not hold.

    A row that has them already keeps them; the others are computed.
    """
    schema = pa.schema([pa.field(name, snapshot.schema.field(name).type) for name in names])
    first, rowid = names[0], pa.field("_rowid", pa.uint64())
    standing = pa.Table.from_batches(
        list(snapshot.scan(names, f"({where}) AND {first} IS NOT NULL", [fragment], row_ids=True)), schema.append(rowid)
    )
    batches = snapshot.scan([], f"({where}) AND {first} IS NULL", [fragment], row_ids=True)
    open_ids = pa.chunked_array([batch["_rowid"] for batch in batches], pa.uint64())
    is_open = pc.is_in(row_ids, value_set=open_ids)
    open_rows = inputs.filter(is_open)
    fresh = computed(open_rows).cast(schema) if len(open_rows) else schema.empty_table()
    if fresh[first].null_count:
        raise StepError(
            f"The operator of step {step} left {first} null for a row that it was asked about. Null says there that "
            "a row was not asked about; give the row another value, such as an empty text."
        )
    rows = pa.concat_tables([standing.select(names), fresh])
    answered = pa.chunked_array([*standing["_rowid"].chunks, *row_ids.filter(is_open).chunks], pa.uint64())
    return rows.take(pc.index_in(row_ids, value_set=answered.combine_chunks()))


def unfinished(snapshot: Snapshot, names: list[str], where: str | None = None) -> list[int]:
    """Ids of the fragments that lack one of the columns ``names``, or have rows on the wrong side of ``where``.

    Sides are looked at only where ``where`` reads columns that a step has grown, which may have been grown anew since;
    other columns of a row never change.
    """
    lacking = pending(snapshot, names)
    words = set(re.findall(r"\w+", expand(where, snapshot.schema.names) or ""))
    if not any(snapshot.column_record(word) for word in words) or not set(names) <= set(snapshot.schema.names):
        return lacking
    wrong = f"(({where}) IS TRUE) <> ({names[0]} IS NOT NULL)"
    grown = [fragment.id for fragment in snapshot.fragments if fragment.rows and fragment.id not in set(lacking)]
    strayed = [fragment for fragment in grown if any(len(rows) for rows in snapshot.scan([], wrong, [fragment], True))]
    return sorted([*lacking, *strayed])


def must_add(snapshot: Snapshot, record: Record, names: list[str]) -> bool:
    """Whether columns are not declared yet, or are those of another state of the step.

    Raises ``StepError`` for a column that the rows came with: growing it would drop what another step, or a source, has
    put there.
    """
    for name in names:
        if name in snapshot.schema.names and not snapshot.column_record(name):
            raise StepError(
                f"The step {record.step} adds a column {name}, which rows have already when they are made. Give the "
                "column another name in the operator's output."
            )
    stored = [snapshot.column_record(name) for name in names]
    return any(one is None or one.get("state") != record.state for one in stored)


def growth_state(snapshot: Snapshot, record: Record, names: list[str], corpus: str, where: str | None = None) -> Status:
    """The work left of growing columns ``names``, for a step that looked at ``corpus`` (its digest, or "")."""
    total = snapshot.count()
    if not names:
        return Status("new", total, total)
    stored = snapshot.column_record(names[0])
    if stored is None:
        return Status("new", total, total)
    changes = record.changes_from(stored)
    if changes:
        return Status("stale", total, total, reasons=tuple(changes))
    if stored.get("corpus", "") != corpus:
        return Status("due", total, total, reasons=("the rows that it looks at changed",))
    if any(snapshot.column_record(name) is None for name in names):
        return Status("pending", total, total)
    todo = set(unfinished(snapshot, names, where))
    rows = sum(fragment.rows for fragment in snapshot.fragments if fragment.id in todo)
    return Status("pending", rows, total) if todo else Status("done", 0, total)
