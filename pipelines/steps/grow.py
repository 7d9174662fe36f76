"""Add columns to the rows of a dataset: the row steps (a function of the row) and the corpus steps (a function of all).

Both grow their columns fragment by fragment. A row step is pending on the fragments that lack its columns. A corpus
step first looks at all rows that it reasons about; when that set has changed, or a field of it, its columns are dropped
and grown anew.
"""

from __future__ import annotations

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

Compute = Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True)
class Outcome:
    grown: GrownFragment
    rows: int


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
    digest_columns: tuple[str, ...] = ()  # columns beside the key that the result depends on

    @property
    def name(self) -> str:
        return self.record.step

    def state(self, store: Store) -> Status:
        snapshot = store[self.dataset].snapshot()
        if snapshot is None or any(column not in snapshot.schema.names for column in self.needs):
            return Status("new")
        digest, rows = self._digest(snapshot)
        if rows == 0:
            return Status("done", 0, 0, self.dataset, ("no rows",))
        status = _growth_state(snapshot, self.record, _names(self.operator, snapshot), digest)
        for table in self.tables if status.done else ():
            made = store[table].snapshot()
            if made is None or (made.record or {}).get("state") != replace(self.record, corpus=digest).state:
                return Status("pending", snapshot.count(), snapshot.count(), self.dataset, (f"{table} is missing",))
        return replace(status, total=rows) if status.kind == "due" else status

    def _digest(self, snapshot: Snapshot) -> tuple[str, int]:
        return corpus_digest(snapshot, (*self.key, *self.digest_columns), self.where)

    def run(self, context: Context) -> None:
        dataset = context.store[self.dataset]
        snapshot = dataset.require()
        fields = self.operator.output(snapshot.schema)
        record = replace(self.record, corpus=self._digest(snapshot)[0])
        fitted = self.operator.fit(
            KeyOrder(snapshot, self.key, self.where), context.device, partial(context.progress, unit="rows looked at")
        )
        for name, rows in fitted.tables.items():
            self._write_table(context, record, name, rows)
        if _must_add(snapshot, record, fields.names):
            context.commit(lambda: add_fields(dataset, fields, record.as_json()))

        def factory() -> Fitted:
            return fitted

        grow_columns(context, record, self.dataset, self.columns, fields.names, factory)

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
            batches = list(snapshot.scan(columns, fragments=[fragment], row_ids=True))
            rows = pa.Table.from_batches(batches).combine_chunks()
            batch = rows.drop_columns(["_rowid"]).to_batches()
            made = pa.Table.from_batches([compute(one) for one in batch]).select(names)
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
            return Outcome(grown, len(rows))

        return work

    def commit(wave: list[Outcome]) -> None:
        nonlocal done
        grown = [outcome.grown for outcome in wave]
        context.commit(lambda: commit_growth(dataset, snapshot.version, grown, context.properties(record)))
        done += sum(outcome.rows for outcome in wave)
        context.tally.rows += sum(outcome.rows for outcome in wave)
        context.tally.inputs += sum(outcome.rows for outcome in wave)
        context.progress(done, total)

    context.in_waves(_reported(context, context.engine.map(worker, todo), total), commit)


def _reported(context: Context, results: Iterator[Outcome], total: int) -> Iterator[Outcome]:
    """Pass results on, telling how many rows are computed; what is committed is told by the commit."""
    computed = 0
    for result in results:
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
