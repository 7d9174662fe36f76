"""Add columns to the rows of a dataset: the row steps (a function of the row) and the corpus steps (a function of all).

Both grow their columns fragment by fragment. A row step is pending on the fragments that lack its columns. A corpus
step first looks at all rows that it reasons about; when that set has changed, or a field of it, its columns are dropped
and grown anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import GrownFragment, add_fields, commit_growth, grow, pending
from mnemic.errors import StepError
from operators.contracts import CorpusOperator, Fitted, RowOperator
from pipelines import faults
from pipelines.corpus_reader import KeyOrder, corpus_digest
from pipelines.identity import Record
from pipelines.steps.contracts import Context, Status

ROWS_AT_ONCE = 8192
"""Rows of a fragment that an operator gets in one batch; bounds its memory whatever the size of the fragment."""

Compute = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True)
class Outcome:
    grown: GrownFragment
    fragment: int
    rows: int
    seconds: float


@dataclass(frozen=True)
class Grow:
    """A row step that adds columns to ``dataset``, reading ``columns``."""

    record: Record
    operator: RowOperator
    dataset: str
    columns: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.record.step

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.dataset,)

    def check(self, store: Store, max_rejects: float) -> None:
        """It rejects nothing."""

    def state(self, store: Store) -> Status:
        snapshot = store[self.dataset].snapshot()
        if snapshot is None:
            return Status("new")
        return _growth_state(snapshot, self.record, _names(self.operator, snapshot), "")

    def run(self, context: Context) -> None:
        dataset = context.store[self.dataset]
        snapshot = dataset.require()
        fields = self.operator.output(snapshot.schema)
        if _must_add(snapshot, self.record, fields.names):
            context.commit(lambda: add_fields(dataset, fields, self.record.as_json()))

        def factory() -> Compute:
            process = self.operator.open(context.device)

            def compute(batch: pa.RecordBatch) -> pa.RecordBatch:
                rows, rejects = process(batch)
                if rejects.num_rows:
                    raise StepError(
                        f"The step {self.name} rejected a row of {self.dataset} ({rejects['reason'][0]}). A step that "
                        "adds columns must give every row a value; reject it where the row is made."
                    )
                return rows

            return compute

        grow_columns(context, self.record, self.dataset, self.columns, fields.names, factory)


@dataclass(frozen=True)
class Corpus:
    """A corpus step: ``fit`` on the rows of ``dataset`` that satisfy ``where``, then columns for all rows.

    ``tables`` are the datasets that it writes whole, such as `pairs`.
    """

    record: Record
    operator: CorpusOperator
    dataset: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.record.step

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.dataset, *self.tables)

    def check(self, store: Store, max_rejects: float) -> None:
        """It rejects nothing."""

    def state(self, store: Store) -> Status:
        snapshot = store[self.dataset].snapshot()
        if snapshot is None or any(column not in snapshot.schema.names for column in self.needs):
            return Status("new")
        digest, rows = self._digest(snapshot)
        if rows == 0:
            left = any(made is not None and made.count() for made in (store[name].snapshot() for name in self.tables))
            return Status("due" if left else "done", 0, 0, self.dataset, ("no rows",))
        status = _growth_state(snapshot, self.record, _names(self.operator, snapshot), digest)
        for table in self.tables if status.done else ():
            made = store[table].snapshot()
            if made is None or (made.record or {}).get("state") != replace(self.record, corpus=digest).state:
                return Status("pending", snapshot.count(), snapshot.count(), self.dataset, (f"{table} is missing",))
        return replace(status, total=rows) if status.kind == "due" else status

    def _digest(self, snapshot: Snapshot) -> tuple[str, int]:
        return corpus_digest(snapshot, self.key, self.where)

    def run(self, context: Context) -> None:
        dataset = context.store[self.dataset]
        snapshot = dataset.require()
        fields = self.operator.output(snapshot.schema)
        corpus, rows = self._digest(snapshot)
        if rows == 0:
            self._empty(context)
            return
        record = replace(self.record, corpus=corpus)
        fitted = self.operator.fit(
            KeyOrder(snapshot, self.key, self.where), context.device, partial(context.progress, unit="rows looked at")
        )
        record = replace(record, found=fitted.summary)
        for name, table in fitted.tables.items():
            self._write_table(context, record, name, table)
        if _must_add(snapshot, record, fields.names):
            context.commit(lambda: add_fields(dataset, fields, record.as_json()))

        def factory() -> Fitted:
            return fitted

        grow_columns(context, record, self.dataset, self.columns, fields.names, factory)

    def _empty(self, context: Context) -> None:
        """Without rows to look at, nothing stays in the tables."""
        for name in self.tables:
            made = context.store[name].snapshot()
            if made is not None and made.count():
                none = made.schema.empty_table()
                self._write_table(context, replace(self.record, corpus="no rows"), name, none)

    def _write_table(self, context: Context, record: Record, name: str, rows: pa.Table) -> None:
        table = context.store[name]
        made = table.snapshot()
        if made is None or (made.record or {}).get("state") != record.state:
            faults.reach(self.name, "before-write")
            context.commit(lambda: table.replace(rows, record.as_json(), context.properties(record)))


def grow_columns(
    context: Context,
    record: Record,
    name: str,
    columns: tuple[str, ...],
    names: list[str],
    factory: Callable[[], Compute],
) -> None:
    """Compute the columns ``names`` for every pending fragment of the dataset and commit them in waves."""
    dataset = context.store[name]
    snapshot = dataset.require()
    todo = pending(snapshot, names)
    sizes = {fragment.id: fragment.rows for fragment in snapshot.fragments}
    total, done = sum(sizes[fragment] for fragment in todo), 0

    def worker() -> Callable[[int], Outcome]:
        compute = factory()

        def work(fragment: int) -> Outcome:
            started = time.monotonic()
            batches = list(snapshot.scan(columns, fragments=[fragment], row_ids=True))
            rows = pa.Table.from_batches(batches).combine_chunks()
            parts = rows.drop_columns(["_rowid"]).to_batches(max_chunksize=ROWS_AT_ONCE)
            made = pa.Table.from_batches([compute(part) for part in parts]).select(names)
            if len(made) != len(rows):
                raise StepError(
                    f"The operator of step {context.step} returned {len(made)} rows for {len(rows)}. "
                    "An operator that adds columns returns one row for each it gets, in the same order."
                )
            faults.reach(context.step, "before-write")
            grown = grow(
                dataset.uri,
                snapshot.version,
                fragment,
                made.append_column("_rowid", rows["_rowid"]),
                dataset.storage_options,
            )
            faults.reach(context.step, "after-write")
            return Outcome(grown, fragment, len(rows), time.monotonic() - started)

        return work

    def commit(wave: list[Outcome]) -> None:
        nonlocal done
        grown = [outcome.grown for outcome in wave]
        context.commit(lambda: commit_growth(dataset, snapshot.version, grown, context.properties(record)))
        done += sum(outcome.rows for outcome in wave)
        context.tally.rows += sum(outcome.rows for outcome in wave)
        context.progress(done, total)

    context.in_waves(_reported(context, context.engine.map(worker, todo), total), commit)


def _reported(context: Context, results: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Pass results on, telling how many rows are computed; what is committed is told by the commit."""
    computed = 0
    for result in results:
        context.emit("fragment", fragment=result.fragment, done=result.rows, seconds=result.seconds)
        computed += result.rows
        context.progress(computed, total)
        yield result


def _names(operator: RowOperator | CorpusOperator, snapshot: Snapshot) -> list[str]:
    return list(operator.output(snapshot.schema).names)


def _must_add(snapshot: Snapshot, record: Record, names: list[str]) -> bool:
    stored = [snapshot.column_record(name) for name in names]
    return any(one is None or one.get("state") != record.state for one in stored)


def _growth_state(snapshot: Snapshot, record: Record, names: list[str], corpus: str) -> Status:
    total = snapshot.count()
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
    todo = set(pending(snapshot, names))
    rows = sum(fragment.rows for fragment in snapshot.fragments if fragment.id in todo)
    return Status("pending", rows, total) if todo else Status("done", 0, total)
