"""Corpus steps: look at all rows once, decide, and then give every row its columns.

One worker decides (`fit`). It writes the tables that the step makes, such as `pairs`, and returns what other workers
need to fill in the columns: as it is up to 64 MB, beyond that through the dataset `partials`, which is emptied when the
columns stand. When the set of rows has changed, or a field of the step, the columns are dropped and grown anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic.catalogue import DatasetSpec, declared
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import add_fields
from mnemic.dataset.write import WrittenFragment, write_whole
from mnemic.errors import StepError
from mnemic.hardware import default_device
from mnemic.ids import hash_parts
from operators.contracts import CorpusOperator, Fitted, Progress
from pipelines import faults
from pipelines.corpus_reader import KeyOrder, corpus_digest, table_digest
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status, require_columns, require_key
from pipelines.steps.grow import Compute, grow_columns, growth_state, must_add

LARGEST_STATE = 64 << 20
"""Bytes of a decision that travel with the job; more goes through `partials`."""

PARTIALS = "partials"

_decided_here: dict[str, Fitted] = {}
"""What this process has decided last, so that it need not restore it."""


@dataclass(frozen=True)
class Written:
    """A table of a worker, written and not committed."""

    schema: pa.Schema
    fragments: tuple[WrittenFragment, ...]


@dataclass(frozen=True)
class Decision:
    """The result of `fit`: its tables, written; its state, or where that is written; its summary."""

    tables: dict[str, Written]
    state: pa.Table | Written
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitStep(RecordedStep):
    """A corpus step: ``fit`` on the rows of ``dataset`` that satisfy ``where``, then columns for all rows.

    Where there are such rows, ``fit`` also gets those that satisfy ``also``, and reads what ``beside`` takes from other
    datasets, in an order of its own. ``tables`` are the datasets that the step writes whole.
    """

    operator: CorpusOperator
    dataset: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()
    tables: tuple[DatasetSpec, ...] = ()
    also: str | None = None
    beside: Mapping[str, Callable[[Store], pa.Table]] = field(default_factory=dict)

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.dataset, *(table.name for table in self.tables))

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return self.tables

    def state(self, store: Store) -> Status:
        snapshot = store[self.dataset].snapshot()
        if snapshot is None or any(column not in snapshot.schema.names for column in self.needs):
            return Status("new")
        digest, rows = self._digest(store, snapshot)
        if rows == 0:
            snapshots = (store[table.name].snapshot() for table in self.tables)
            left = any(table is not None and table.count() for table in snapshots)
            return Status("due" if left else "done", 0, 0, self.dataset, ("no rows",))
        if any(column not in snapshot.schema.names for column in self.columns):
            return Status("new", rows, rows)
        status = growth_state(snapshot, self.record, list(self.operator.output(snapshot.schema).names), digest)
        for table in self.tables if status.done else ():
            written = store[table.name].snapshot()
            if written is None or (written.record or {}).get("state") != replace(self.record, corpus=digest).state:
                total, reason = snapshot.count(), f"{table.name} is missing"
                return Status("pending", total, total, self.dataset, (reason,))
        return replace(status, total=rows) if status.kind == "due" else status

    def _digest(self, store: Store, snapshot: Snapshot) -> tuple[str, int]:
        """Of all that ``fit`` looks at; and the number of rows that satisfy ``where``."""
        digest, rows = corpus_digest(snapshot, self.key, self.where)
        if rows == 0 or (self.also is None and not self.beside):
            return digest, rows
        more = [] if self.also is None else [corpus_digest(snapshot, self.key, self.also)[0]]
        more += [table_digest(read(store)) for _, read in sorted(self.beside.items())]
        return hash_parts("corpus", digest, *more), rows

    def _corpus(self, store: Store, version: int) -> KeyOrder:
        """What ``fit`` looks at, and `restore` again with the tables that ``fit`` made."""
        where = self.where if self.also is None else f"({self.where}) OR ({self.also})"
        beside = {name: partial(read, store) for name, read in self.beside.items()}
        tables = {table.name: partial(_whole, store, table.name) for table in self.tables}
        return KeyOrder(store[self.dataset].require(version), self.key, where, {**beside, **tables})

    def run(self, context: Context) -> None:
        dataset = context.store[self.dataset]
        snapshot = dataset.require()
        require_columns(self.name, snapshot, self.dataset, (*self.key, *self.columns, *self.needs))
        fields = self.operator.output(snapshot.schema)
        corpus, rows = self._digest(context.store, snapshot)
        if rows == 0:
            self._empty(context)
            return
        record = replace(self.record, corpus=corpus)
        decision = self._decide(context, snapshot.version, record.state)
        record = replace(record, found=decision.summary)
        for name, table in decision.tables.items():
            self._commit_table(context, record, name, table)
        if must_add(snapshot, record, fields.names):
            context.commit(lambda: add_fields(dataset, fields, record.as_json()))
        self._fill(context, record, snapshot.version, fields.names, decision.state)

    def _fill(
        self, context: Context, record: Record, version: int, names: list[str], state: pa.Table | Written
    ) -> None:
        """Give all rows the columns ``names``."""
        spilled = isinstance(state, Written)
        if isinstance(state, Written):
            self._commit_table(context, record, PARTIALS, state)
        factory = self._filler(context, version, record.state, None if isinstance(state, Written) else state)
        grow_columns(context, record, self.dataset, self.columns, names, factory, self.operator.resources)
        if spilled:
            partials = context.store[PARTIALS]
            context.commit(lambda: partials.delete("true"))
            partials.forget_before(timedelta(0))

    def _decide(self, context: Context, version: int, state: str) -> Decision:
        """`fit`, in one worker."""
        operator, device, read = self.operator, context.device, self._corpus
        store, step, specs = context.store, self.name, {table.name: table for table in self.tables}

        def factory() -> Callable[[Progress], Iterator[Decision]]:
            def decide(progress: Progress) -> Iterator[Decision]:
                fitted = operator.fit(read(store, version), device or default_device(), progress)
                _decided_here.clear()
                _decided_here[state] = fitted
                tables = {}
                if undeclared := fitted.tables.keys() - specs.keys():
                    raise StepError(
                        f"The step {step} made a table {min(undeclared)} that nobody declares. Declare it with a "
                        "DatasetSpec in `tables` of the step's section, so that releases and digests know it."
                    )
                if missing := specs.keys() - fitted.tables.keys():
                    raise StepError(
                        f"The step {step} declares a table {min(missing)} and did not make it. Let the operator's "
                        "`fit` return it, without rows if it has none, or take it out of the step's section."
                    )
                for table, rows in fitted.tables.items():
                    require_key(step, table, specs[table].key, rows.schema.names)
                    faults.reach(step, "before-write")
                    tables[table] = _written(store, table, rows)
                    faults.reach(step, "after-write")
                learned = fitted.state
                carried = learned if learned.nbytes <= LARGEST_STATE else _written(store, PARTIALS, learned)
                yield Decision(tables, carried, dict(fitted.summary))

            return decide

        decisions: list[Decision] = []
        job = context.job(factory, operator.resources)
        results = context.engine.stream(job, partial(context.progress, unit="rows looked at"))
        context.in_waves(results, lambda wave: None, decisions.append)
        return decisions[-1]

    def _filler(self, context: Context, version: int, state: str, carried: pa.Table | None) -> Callable[[], Compute]:
        """What a worker computes the columns with."""
        operator, device, store, read = self.operator, context.device, context.store, self._corpus

        def factory() -> Compute:
            decided = _decided_here.pop(state, None)
            if decided is not None:
                return decided
            small = carried
            if small is None:
                small = _whole(store, PARTIALS)
            return operator.restore(small, read(store, version), device or default_device())

        return factory

    def _empty(self, context: Context) -> None:
        """Without rows to look at, nothing stays in the tables."""
        for table in self.tables:
            written = context.store[table.name].snapshot()
            if written is not None and written.count():
                record = replace(self.record, corpus="no rows")
                self._commit_table(context, record, table.name, Written(written.schema.remove_metadata(), ()))

    def _commit_table(self, context: Context, record: Record, name: str, table: Written) -> None:
        """Put a written table in the place of what stands, unless that is the same."""
        dataset = context.store[name]
        current = dataset.snapshot()
        if current is None or (current.record or {}).get("state") != record.state:
            stored, properties = record.as_json(), context.properties(record)
            specs = {spec.name: spec for spec in self.tables}
            schema = declared(table.schema, specs[name]) if name in specs else table.schema
            context.commit(lambda: dataset.replace(schema, table.fragments, stored, properties))


def _whole(store: Store, name: str) -> pa.Table:
    snapshot = store[name].require()
    return snapshot.table(snapshot.schema.names)


def _written(store: Store, name: str, rows: pa.Table) -> Written:
    schema = rows.schema.remove_metadata()
    return Written(schema, tuple(write_whole(store[name], rows.cast(schema))))
