"""Read columns of hundreds of rows at once, by row id or by id.

Lance decodes a chunk of a column for every row that is taken: eight columns of 200 rows spread over a million cost
27 ms of a core, a few times what searching costs. So small columns are held in memory from the moment when reading them
again and again has cost about as much as loading them once: at once in a small dataset, after `PATIENCE` rows in a
large one. Texts and vectors are held of small datasets alone: a column that is larger than `MOST_BYTES` never is.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import RowIds
from mnemic.dataset.failures import reading
from mnemic.dataset.snapshot import Snapshot
from mnemic.quoting import one_of

SMALL = 50_000
"""Rows up to which columns are loaded when they are first read."""

PATIENCE = 2_000
"""Rows that are read one by one before the columns of a larger dataset are loaded."""

MOST_ROWS = 8_000_000
"""Rows of a dataset from which its columns are never held: they would take more than a gigabyte."""

MOST_BYTES = 32 << 20
"""Of the texts and vectors that are held of a dataset for one kind of question: those of its columns together."""

_AT_ONCE = 1 << 12
"""Rows of texts and vectors that are loaded at once, until they are too many bytes."""


def read_rows(snapshot: Snapshot, row_ids: Sequence[int] | RowIds, columns: Sequence[str]) -> pa.Table:
    """``columns`` of the rows ``row_ids`` [n], in their order. Raises ``KeyError`` for an id that is not there."""
    numbers = np.asarray(row_ids, dtype=np.uint64)
    cached = _held(snapshot)
    if cached.worth_loading(columns, len(numbers)):
        return cached.take(numbers, columns)
    order = np.argsort(numbers, kind="stable")
    table = _take(snapshot, numbers[order], columns)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return table.take(pa.array(back))


def read_wide(snapshot: Snapshot, row_ids: RowIds, columns: Sequence[str], patience: int = 1) -> pa.Table:
    """As `read_rows`, for ``columns`` of texts and vectors, which are held from the ``patience``-th question on.

    As long as they are not, ascending ``row_ids`` [n] are read faster.
    """
    cached = _held(snapshot)
    if cached.holds_wide(columns, patience):
        return cached.take(row_ids, columns)
    return _take(snapshot, row_ids, columns)


def _take(snapshot: Snapshot, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
    table = snapshot.take_rows(row_ids, columns).select(list(columns))
    if len(table) != len(row_ids):
        raise KeyError("a row id that this version of the dataset does not hold")
    return table


def row_ids_where(snapshot: Snapshot, where: str | None) -> RowIds:
    """Row ids of the rows that satisfy ``where``, in storage order."""
    numbers = [batch["_rowid"].to_numpy() for batch in snapshot.scan([], where, row_ids=True)]
    return np.concatenate([np.empty(0, np.uint64), *numbers])


def rows_of_ids(snapshot: Snapshot, column: str, values: Sequence[str]) -> tuple[RowIds, npt.NDArray[np.bool_]]:
    """Row ids of the rows whose ``column`` (unique) has these values, and which of the values there are."""
    cached = _held(snapshot)
    if cached.worth_loading([column], len(values)):
        return cached.find(column, values)
    with reading(snapshot.uri):
        scanner = snapshot.native.scanner(columns=[column], filter=one_of(column, values), with_row_id=True)
        table = scanner.to_table()
    place = dict(zip(table[column].to_pylist(), table["_rowid"].to_pylist(), strict=True))
    there = np.array([value in place for value in values], bool)
    return np.array([place.get(value, 0) for value in values], np.uint64), there


def hold(snapshot: Snapshot, columns: Sequence[str]) -> int:
    """Load ``columns`` now, before the first search, and give the bytes that all held columns take."""
    cached = _held(snapshot)
    cached.load(columns)
    return cached.nbytes


class RowCache:
    """Columns of all rows of a snapshot, by name, in the order of the row ids."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = weakref.ref(snapshot)
        self._rows = snapshot.count()
        self._read = 0
        self._row_ids: RowIds | None = None
        self._columns: dict[str, pa.Array] = {}
        self._too_wide, self._questions = set[str](), Counter[str]()
        self._fields = {field.name: field for field in snapshot.schema}
        self._orders: dict[str, tuple[npt.NDArray[np.bytes_], npt.NDArray[np.int64]]] = {}
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return sum(int(column.nbytes) for column in self._columns.values()) + 8 * self._rows

    def worth_loading(self, columns: Sequence[str], rows: int) -> bool:
        """Whether the columns are held, loading them when that has become worth it."""
        if not all(column in self._columns for column in columns):
            self._read += rows
            if self._rows > MOST_ROWS or (self._rows > SMALL and self._read < PATIENCE):
                return False
            self.load(columns)
        return True

    def load(self, columns: Sequence[str]) -> None:
        with self._lock:
            missing = [column for column in columns if column not in self._columns]
            snapshot = self._snapshot()
            if not missing or snapshot is None:
                return
            with reading(snapshot.uri):
                self._keep(snapshot.native.scanner(columns=missing, with_row_id=True).to_table())

    def holds_wide(self, columns: Sequence[str], patience: int = 1) -> bool:
        """Whether the ``columns`` are held; from the ``patience``-th question on those of `MOST_BYTES` at most are."""
        if all(column in self._columns for column in columns):
            return True
        snapshot = self._snapshot()
        if snapshot is None or self._rows > SMALL or not self._too_wide.isdisjoint(columns):
            return False
        with self._lock:
            self._questions.update(columns)
            missing = [column for column in columns if column not in self._columns]
            if any(self._questions[column] < patience for column in missing):
                return False
            batches, size = list[pa.RecordBatch](), 0
            for batch in snapshot.scan(missing, row_ids=True, batch_size=_AT_ONCE) if missing else ():
                batches.append(batch)
                size += batch.nbytes
                if size > MOST_BYTES:
                    self._too_wide.update(missing)
                    return False
            if batches:
                self._keep(pa.Table.from_batches(batches))
        return all(column in self._columns for column in columns)

    def _keep(self, table: pa.Table) -> None:
        """Hold the columns of ``table``, which has all rows and their ids."""
        row_ids = table["_rowid"].to_numpy()
        order = np.argsort(row_ids, kind="stable")
        if np.any(order[1:] < order[:-1]):
            table = table.take(pa.array(order))
        self._row_ids = row_ids[order]
        for column in table.column_names:
            if column != "_rowid":
                self._columns[column] = table[column].combine_chunks()

    def take(self, row_ids: RowIds, columns: Sequence[str]) -> pa.Table:
        assert self._row_ids is not None
        if len(self._row_ids) and int(self._row_ids[-1] - self._row_ids[0]) == len(self._row_ids) - 1:
            places = (row_ids - self._row_ids[0]).astype(np.int64)  # none is missing
        else:
            places = np.searchsorted(self._row_ids, row_ids)
        inside = np.clip(places, 0, len(self._row_ids) - 1)
        if len(row_ids) and (len(self._row_ids) == 0 or np.any(self._row_ids[inside] != row_ids)):
            raise KeyError("a row id that this version of the dataset does not hold")
        chosen = pa.array(places)
        schema = pa.schema([self._fields[column] for column in columns])
        return pa.Table.from_arrays([self._columns[column].take(chosen) for column in columns], schema=schema)

    def find(self, column: str, values: Sequence[str]) -> tuple[RowIds, npt.NDArray[np.bool_]]:
        assert self._row_ids is not None
        if column not in self._orders:
            keys = self._columns[column].to_numpy(zero_copy_only=False).astype("S")
            order = np.argsort(keys, kind="stable")
            self._orders[column] = (keys[order], order)
        keys, order = self._orders[column]
        encoded = np.array([value.encode() for value in values], "S")
        if len(keys) == 0 or len(encoded) == 0:
            return np.zeros(len(encoded), np.uint64), np.zeros(len(encoded), bool)
        places = np.minimum(np.searchsorted(keys, encoded), len(keys) - 1)
        there = keys[places] == encoded
        return np.where(there, self._row_ids[order[places]], 0).astype(np.uint64), there


_of_snapshot: weakref.WeakKeyDictionary[Snapshot, RowCache] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _held(snapshot: Snapshot) -> RowCache:
    with _making:
        if snapshot not in _of_snapshot:
            _of_snapshot[snapshot] = RowCache(snapshot)
        return _of_snapshot[snapshot]
