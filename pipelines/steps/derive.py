"""Make the rows of one dataset from the rows of another: documents -> units -> events, documents -> scored tokens.

The work left is the difference of two sets read from the datasets themselves: all inputs, and inputs that have rows, a
reject, or the mark that nothing was made of them. The process that runs the step has 16 bytes of each, in memory or in
a file (`pipelines.keyset`). Rows of inputs that are no longer wanted, such as a document that became a duplicate, are
deleted. All rows of one input are written into one fragment and committed at once; a fragment of very many rows is
worked off some inputs at a time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic import inside
from mnemic.catalogue import DatasetSpec, declared
from mnemic.dataset import Dataset, Snapshot, Store
from mnemic.dataset.growth import add_fields
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.metadata import metadata_fields
from operators.contracts import REJECTED, RowOperator
from operators.sections import Lookup
from pipelines import faults
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.steps import answers
from pipelines.steps.contracts import Context, Status, require_columns, require_key
from pipelines.steps.lookup import LookedUp
from pipelines.steps.rejects import check_rejects, forget_rejects, mark_of, marked_keys, rejected_ids

ROWS_AT_ONCE = 1 << 17
"""Rows of the origin that an operator gets in one batch, unless one input alone has more; bounds its memory."""

Key = tuple[Any, ...]
"""The values of the columns that name an input; the first is a string, its id."""


DeriveWork = tuple[int, list[Key] | None]
"""A fragment of the origin, and the keys of its inputs that are missing; None for all of them."""


@dataclass(frozen=True)
class Difference:
    """The work left: inputs that are ``missing``, and keys that are ``gone`` and yet have rows or marks.

    ``unwanted_rejects`` are ids of inputs that were rejected and are gone.
    """

    missing: KeySet
    gone: KeySet
    unwanted_rejects: KeySet

    @property
    def vanished(self) -> int:
        return len(self.gone) + len(self.unwanted_rejects)


@dataclass(frozen=True)
class DerivedRows:
    fragment: int  # of the origin
    fragments: tuple[WrittenFragment, ...]
    rejects: pa.Table  # and marks
    answered: frozenset[str]  # ids of the inputs that have rows, and rejects too
    rows: int
    inputs: int
    seconds: float


@dataclass(frozen=True)
class DeriveStep:
    """A step that makes ``target`` from ``origin``.

    ``key`` are the columns of the origin that identify an input, ``target_key`` the columns of the target that repeat
    them (in the same order; the first is the input's id), ``where`` says which rows of the origin are inputs.
    """

    record: Record
    operator: RowOperator
    origin: str
    target: DatasetSpec
    columns: tuple[str, ...]
    key: tuple[str, ...]
    target_key: tuple[str, ...]
    after: tuple[str, ...]
    where: str | None = None
    needs: tuple[str, ...] = ()  # columns of the origin that an earlier step must have finished
    lookups: tuple[Lookup, ...] = ()

    @property
    def name(self) -> str:
        return self.record.step

    @property
    def unit(self) -> str:
        """What its inputs are, in words."""
        return "documents" if self.key[0] == "document" else self.origin

    @property
    def datasets(self) -> tuple[str, ...]:
        return (self.target.name,)

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return (self.target,)

    def check(self, store: Store, max_rejects: float) -> None:
        """Raise when too many inputs were rejected."""
        target = store[self.target.name].require()

        def accepted() -> int:
            return len(self._standing(target)) + len(self._marks(store, target))

        check_rejects(store, self.record, accepted, max_rejects)

    def state(self, store: Store) -> Status:
        origin, target = store[self.origin].snapshot(), store[self.target.name].snapshot()
        if origin is None or any(column not in origin.schema.names for column in self.needs):
            return Status("new")
        inputs = self._inputs(store, origin)
        if target is None:
            return Status("new", len(inputs), len(inputs), self.unit)
        stale = self.record.changes_from(target.record or {})
        if stale:
            return Status("stale", len(inputs), len(inputs), self.unit, tuple(stale))
        left = self._difference(store, origin, inputs, target)
        if not left.missing and not left.vanished:
            return Status("done", 0, len(inputs), self.unit)
        reasons = [f"{len(left.missing):,} without {self.target.name}"] if left.missing else []
        reasons += [f"{left.vanished:,} no longer wanted"] if left.vanished else []
        return Status("pending", len(left.missing) + left.vanished, len(inputs), self.unit, tuple(reasons))

    def run(self, context: Context) -> None:
        origin = context.store[self.origin].require()
        require_columns(self.name, origin, self.origin, (*self.key, *self.columns, *self.needs))
        dataset = context.store[self.target.name]
        target = dataset.snapshot()
        if target is None or self.record.changes_from(target.record or {}):
            rows = self._schema(origin)
            context.commit(lambda: forget_rejects(context.store, f"step = '{self.name}'"))
            context.commit(lambda: dataset.create(rows, self.record.as_json(), context.properties(self.record)))
        new = [field for field in self._carried(origin) if field.name not in dataset.require().schema.names]
        if new:
            context.commit(lambda: add_fields(dataset, pa.schema(new), {}))
        inputs = self._inputs(context.store, origin)
        left = self._difference(context.store, origin, inputs, dataset.require())
        if left.vanished:
            context.commit(lambda: self._forget(context.store, dataset, left))
            left = self._difference(context.store, origin, inputs, dataset.require())
        missing, done, computed = left.missing, 0, 0

        def commit(wave: list[DerivedRows]) -> None:
            nonlocal done
            answered = frozenset().union(*(outcome.answered for outcome in wave))
            context.reject(self.record, pa.concat_tables([outcome.rejects for outcome in wave]), answered)
            fragments = [fragment for outcome in wave for fragment in outcome.fragments]
            if fragments:
                context.commit(lambda: append(dataset, fragments, context.properties(self.record)))
            done += sum(outcome.inputs for outcome in wave)
            context.tally.rows += sum(outcome.rows for outcome in wave)
            context.progress(done, len(missing), self.unit)

        def seen(outcome: DerivedRows) -> None:
            nonlocal computed
            computed += outcome.inputs
            context.emit("fragment", fragment=outcome.fragment, done=outcome.rows, seconds=outcome.seconds)

        own = type(self)._inputs is DeriveStep._inputs  # else a fragment may hold keys that are no inputs
        everything = own and len(missing) == len(inputs)
        work = self._work(origin, missing, everything)
        job = context.job(self._worker(context, origin.version, dataset), self.operator.resources, self._item_in_words)
        total = len(missing)
        with inside.heard_by(lambda inputs: context.progress(min(computed + inputs, total), total, self.unit)):
            context.in_waves(context.engine.map(job, work), commit, seen)

    def _item_in_words(self, item: DeriveWork) -> str:
        fragment, keys = item
        if keys is None:
            return f"fragment {fragment} of {self.origin}"
        return f"fragment {fragment} of {self.origin} ({len(keys):,} {self.unit}, the first is {keys[0][0]})"

    def _schema(self, origin: Snapshot) -> pa.Schema:
        """That of the target, with what the dataset says of itself."""
        schema = self.operator.output(origin.schema)
        require_key(self.name, self.target.name, (*self.target.key, *self.target_key), schema.names)
        return declared(_widened(schema, self._carried(origin)), self.target)

    def _carried(self, origin: Snapshot) -> list[pa.Field]:
        """The metadata columns that rows of the target have of the input that they are made of."""
        return metadata_fields(origin.schema) if self.target.carries else []

    def _inputs(self, store: Store, origin: Snapshot) -> KeySet:
        """The keys of all inputs; a step may leave out some by what another dataset of ``store`` has."""
        return KeySet(batch.select(self.key) for batch in origin.scan(self.key, self.where, batch_size=65536))

    def _standing(self, target: Snapshot) -> KeySet:
        columns = self.target_key
        return KeySet(batch.select(columns) for batch in target.scan(columns, batch_size=65536))

    def _marks(self, store: Store, target: Snapshot) -> KeySet:
        return KeySet(marked_keys(store, self.record, pa.schema(target.schema.field(name) for name in self.target_key)))

    def _difference(self, store: Store, origin: Snapshot, inputs: KeySet, target: Snapshot) -> Difference:
        """Which inputs are to be asked, and what there is of inputs that are no longer wanted."""
        standing = self._standing(target) | self._marks(store, target)
        rejected = KeySet(rejected_ids(store, self.record))
        missing, gone = inputs - standing, standing - inputs
        if rejected:
            refused = KeySet(self._of_ids(origin, rejected, self.key))
            rejected -= KeySet(self._of_ids(origin, rejected, self.key[:1]))
            missing -= refused
        return Difference(missing, gone, rejected)

    def _of_ids(self, origin: Snapshot, ids: KeySet, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """``columns`` of the inputs whose id is one of ``ids``."""
        for batch in origin.scan(self.key, self.where, batch_size=65536):
            rows = batch.filter(pa.array(ids.has(batch.select(self.key[:1]))))
            if rows.num_rows:
                yield rows.select(columns)

    def _forget(self, store: Store, dataset: Dataset, left: Difference) -> None:
        """Rejects first: a kill between the two leaves rows, by which the next build knows what to forget."""
        target, unwanted = dataset.require(), set[str]()
        for batch in rejected_ids(store, self.record):
            unwanted.update(batch["input"].filter(pa.array(left.unwanted_rejects.has(batch))).unique().to_pylist())
        fields = pa.schema(target.schema.field(name) for name in self.target_key)
        standing = (batch.select(self.target_key) for batch in target.scan(self.target_key, batch_size=65536))
        for batch in itertools.chain(standing, marked_keys(store, self.record, fields)):
            unwanted.update(batch[0].filter(pa.array(left.gone.has(batch))).unique().to_pylist())
        inputs = sorted(unwanted)
        if store["rejects"].snapshot() is not None:
            for start in range(0, len(inputs), 2000):
                quoted = ",".join(f"'{value}'" for value in inputs[start : start + 2000])
                forget_rejects(store, f"step = '{self.name}' AND input IN ({quoted})")
        dataset.delete_keys(self.target_key[0], inputs)

    def _work(self, origin: Snapshot, missing: KeySet, everything: bool) -> Iterator[DeriveWork]:
        """A piece of work for every fragment that holds an input that is missing; ``everything``: all are."""
        for fragment in origin.fragments if missing else ():
            if everything:
                yield fragment.id, None
                continue
            batches = (batch.select(self.key) for batch in origin.scan(self.key, self.where, fragments=[fragment.id]))
            here = list(_distinct((batch.filter(pa.array(missing.has(batch))) for batch in batches), self.key))
            if here:
                yield fragment.id, here

    def _keys_of(self, origin: Snapshot, fragment: int) -> list[Key]:
        """The keys of all inputs that a fragment holds, in its order."""
        return list(_distinct(origin.scan(self.key, self.where, fragments=[fragment], batch_size=65536), self.key))

    def _pieces(self, origin: Snapshot, fragment: int, rows_of: int, keys: list[Key]) -> Iterator[list[Key]]:
        """``keys`` of a fragment, so many at a time that they have no more than `ROWS_AT_ONCE` rows, or one of them."""
        if rows_of <= ROWS_AT_ONCE:
            yield keys
            return
        counts: dict[Key, int] = dict.fromkeys(keys, 0)
        for batch in origin.scan(self.key, self.where, fragments=[fragment], batch_size=65536):
            for key in zip(*(batch[name].to_pylist() for name in self.key), strict=True):
                if key in counts:
                    counts[key] += 1
        piece, rows = list[Key](), 0
        for key in keys:
            if piece and rows + counts[key] > ROWS_AT_ONCE:
                yield piece
                piece, rows = [], 0
            piece.append(key)
            rows += counts[key]
        yield piece

    def _rows(self, origin: Snapshot, fragment: int, keys: list[Key]) -> pa.RecordBatch:
        """The rows of the inputs ``keys``, which are all of a fragment; no more than one copy of them is made."""
        carried = [field.name for field in self._carried(origin)]
        columns = list(dict.fromkeys((*self.key, *self.columns, *carried)))
        batches = []
        for batch in origin.scan(columns, self.where, fragments=[fragment], batch_size=ROWS_AT_ONCE):
            chosen = _is_one_of(pa.Table.from_batches([batch]), self.key, keys)
            batches.append(batch if pc.all(chosen).as_py() else batch.filter(_one_chunk(chosen)))
        batches = [batch for batch in batches if batch.num_rows] or batches[:1]
        return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]

    def _worker(
        self, context: Context, version: int, dataset: Dataset
    ) -> Callable[[], Callable[[DeriveWork], DerivedRows]]:
        origin, device, store = context.store[self.origin], context.device, context.store
        lookups, key = self.lookups, self.key[0]
        schema = self.operator.output(origin.require(version).schema)  # not the dataset's: that may have grown
        carried = self._carried(origin.require(version))
        columns = list(dict.fromkeys((*self.key, *self.columns)))

        def factory() -> Callable[[DeriveWork], DerivedRows]:
            process = self.operator.open(self.operator.resources.device(device))
            snapshot = origin.require(version)
            looked_up = LookedUp(store, lookups)
            sizes = {one.id: one.rows for one in snapshot.fragments}

            def work(item: DeriveWork) -> DerivedRows:
                started = time.monotonic()
                fragment, some_keys = item
                keys = self._keys_of(snapshot, fragment) if some_keys is None else some_keys
                if not keys:
                    return DerivedRows(fragment, (), REJECTED.empty_table(), frozenset(), 0, 0, 0.0)
                written: list[WrittenFragment] = []
                rejects, standing, count, answered_inputs = list[pa.RecordBatch](), dict[Key, None](), 0, 0
                for some in self._pieces(snapshot, fragment, sizes[fragment], keys):
                    inputs = self._rows(snapshot, fragment, some)
                    answer = process(looked_up.beside(inputs.select(columns), key))
                    rows, refused = answers.rows_and_rejects(self.name, answer, schema.names)
                    answers.of_inputs(self.name, rows, refused, self.target_key[0], {key[0] for key in some})
                    answers.each_once(self.name, rows, self.target.key)
                    faults.reach(self.name, "before-write")
                    table = _with_carried(rows, self.target_key[0], inputs, self.key[0], carried)
                    rejects.append(refused)
                    standing.update(_distinct([rows], self.target_key))
                    count += rows.num_rows
                    answered_inputs += len(some)
                    inside.tell(answered_inputs)
                    del answer, rows, inputs  # before writing, which takes memory of its own
                    pa.default_memory_pool().release_unused()
                    written += write_rows(dataset.uri, table, _widened(schema, carried), dataset.storage_options)
                    faults.reach(self.name, "after-write")
                    del table
                    pa.default_memory_pool().release_unused()
                answered, unanswered = frozenset(key[0] for key in standing), pa.Table.from_batches(rejects)
                return DerivedRows(
                    fragment,
                    tuple(written),
                    _with_marks(unanswered, keys, standing, answered),
                    answered & set(unanswered["input"].to_pylist()),
                    count,
                    len(keys),
                    time.monotonic() - started,
                )

            return work

        return factory


def _widened(schema: pa.Schema, fields: Iterable[pa.Field]) -> pa.Schema:
    """``schema`` with ``fields`` at its end, in place of its own of these names."""
    names = {field.name for field in fields}
    return pa.schema([*(field for field in schema if field.name not in names), *fields], schema.metadata)


def _with_carried(
    rows: pa.RecordBatch, owner: str, inputs: pa.RecordBatch, key: str, carried: list[pa.Field]
) -> pa.Table:
    """``rows`` with the ``carried`` columns of the input that each names in its column ``owner``."""
    table = pa.Table.from_batches([rows])
    if carried:
        at = pc.index_in(rows[owner], value_set=inputs[key].cast(rows[owner].type))
        for field in carried:
            table = table.append_column(field, inputs[field.name].take(at))
    return table


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _with_marks(rejects: pa.Table, keys: list[Key], standing: Iterable[Key], answered: Iterable[str]) -> pa.Table:
    """``rejects``, and a mark for each of the ``keys`` that is in neither of the two tables."""
    rejected = set(rejects["input"].to_pylist()) - set(answered)
    there = set(standing)
    marks = [mark_of(key) for key in keys if key not in there and key[0] not in rejected]
    return pa.concat_tables([rejects, pa.Table.from_pylist(marks, schema=REJECTED)])


def _is_one_of(table: pa.Table, columns: Sequence[str], keys: list[Key]) -> pa.Array:
    """Which rows of ``table`` have one of these ``keys`` in ``columns``, bool [rows]."""
    ids = pa.array([key[0] for key in keys], table.schema.field(columns[0]).type)
    if len(columns) == 1:
        return pc.is_in(table[columns[0]], value_set=ids)
    chosen = set(keys)
    return pa.array([key in chosen for key in zip(*(table[name].to_pylist() for name in columns), strict=True)])


def _distinct(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> dict[Key, None]:
    """The distinct values of ``columns`` in the order in which they come, streamed."""
    distinct: dict[Key, None] = {}
    for batch in batches:
        rows = pa.Table.from_batches([batch.select(list(columns))])
        unique = rows.group_by(list(columns), use_threads=False).aggregate([])
        distinct.update(dict.fromkeys(zip(*(unique[column].to_pylist() for column in columns), strict=True)))
    return distinct
