"""Rows of a dataset by what one of its columns holds, such as the rows of `events` by their document.

Lance answers `document IN (...)` by reading the column of all rows. So the numbers of rows are held by value, and for
each condition which of them satisfy it, from the moment when asking has cost about as much as that: at once in a small
dataset, after `PATIENCE` questions in a large one.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Flags, Integers, RowIds
from mnemic.conditions import all_of
from mnemic.dataset.index.recent import Questions, Recent
from mnemic.dataset.index.rows import SMALL, row_ids_where
from mnemic.dataset.snapshot import Snapshot
from mnemic.quoting import one_of

PATIENCE = 16
"""Questions with the same condition that Lance answers before anything of a larger dataset is held for it."""

MOST_BYTES = 128 << 20
"""Of all that is held of one column of a snapshot."""

_BYTES_A_ROW = 17
"""Of a row id, its place and its flag for one condition."""

_AT_ONCE = 1 << 16
"""Rows that are placed at once."""


def rows_with(snapshot: Snapshot, column: str, values: Collection[str], where: str | None) -> RowIds:
    """Row ids, ascending, of the rows that satisfy ``where`` and whose ``column`` (never null) is one of ``values``."""
    if not values:
        return np.empty(0, np.uint64)
    rows = _held(snapshot, column).rows(snapshot, values, where)
    if rows is not None:
        return rows
    sought = all_of(where, one_of(column, sorted(values)))
    return np.sort(row_ids_where(snapshot, sought))


@dataclass(frozen=True)
class RowsByValue:
    """The rows whose column holds ``keys[k]`` (bytes, ascending) are ``rows[first[k] : first[k + 1]]``.

    ``order`` int64 [n] are the places of all rows in ``rows`` [n], by ascending row id.
    """

    keys: npt.NDArray[np.bytes_]
    first: Integers
    rows: RowIds
    order: Integers

    @classmethod
    def read(cls, snapshot: Snapshot, column: str) -> RowsByValue:
        keys, codes, rows = [np.empty(0, "S1")], [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        count = 0
        for batch in snapshot.scan([column], row_ids=True, batch_size=_AT_ONCE):
            coded = batch[column].dictionary_encode()
            keys.append(coded.dictionary.cast(pa.binary()).to_numpy(zero_copy_only=False).astype("S"))
            codes.append(coded.indices.to_numpy().astype(np.int64) + count)
            rows.append(batch["_rowid"].to_numpy())
            count += len(coded.dictionary)
        distinct, place = np.unique(np.concatenate(keys), return_inverse=True)
        at, numbers = place[np.concatenate(codes)], np.concatenate(rows)
        by_value = np.lexsort((numbers, at))
        first = np.searchsorted(at[by_value], np.arange(len(distinct) + 1))
        return cls(distinct, first, numbers[by_value], np.argsort(numbers[by_value], kind="stable"))

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.first.nbytes + self.rows.nbytes + self.order.nbytes

    def satisfying(self, numbers: RowIds) -> Flags:
        """Which of ``rows`` [n] are among ``numbers``, bool [n]."""
        flags = np.zeros(len(self.rows), np.bool_)
        flags[self.order[np.searchsorted(self.rows, np.sort(numbers), sorter=self.order)]] = True
        return flags

    def of(self, values: Collection[str], flags: Flags | None) -> RowIds:
        """Row ids, ascending, of the rows with one of ``values`` that have their flag; None: of all."""
        sought = np.unique(np.array([value.encode() for value in values], "S"))
        places = np.minimum(np.searchsorted(self.keys, sought), max(len(self.keys) - 1, 0))
        there = places[self.keys[places] == sought] if len(self.keys) else places[:0]
        ranges = zip(self.first[there].tolist(), self.first[there + 1].tolist(), strict=True)
        at = np.concatenate([np.empty(0, np.int64), *(np.arange(begin, end) for begin, end in ranges)])
        return np.sort(self.rows[at if flags is None else at[flags[at]]])


class HeldGroups:
    """What is held of ``column`` of a snapshot of ``rows`` rows, and for which conditions: those asked for last."""

    def __init__(self, column: str, rows: int) -> None:
        self._column, self._questions = column, Questions(1 if rows <= SMALL else PATIENCE)
        self._possible = rows * _BYTES_A_ROW <= MOST_BYTES
        self._groups: RowsByValue | None = None
        self._flags: Recent[Flags | None] = Recent(MOST_BYTES, lambda flags: 0 if flags is None else flags.nbytes)
        self._lock = threading.Lock()

    def rows(self, snapshot: Snapshot, values: Collection[str], where: str | None) -> RowIds | None:
        """The rows of ``snapshot`` that satisfy ``where`` and hold one of ``values``; None where that is not held."""
        with self._lock:
            if where not in self._flags and self._possible and self._questions.worth(where):
                self._read(snapshot, where)
            if self._groups is None or where not in self._flags:
                return None
            groups, flags = self._groups, self._flags[where]
        return groups.of(values, flags)

    def _read(self, snapshot: Snapshot, where: str | None) -> None:
        groups = self._groups or RowsByValue.read(snapshot, self._column)
        self._possible = groups.nbytes + len(groups.rows) <= MOST_BYTES
        if not self._possible:
            return
        self._groups, self._flags.most_bytes = groups, MOST_BYTES - groups.nbytes
        self._flags[where] = None if where is None else groups.satisfying(row_ids_where(snapshot, where))


_of_snapshot: weakref.WeakKeyDictionary[Snapshot, dict[str, HeldGroups]] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _held(snapshot: Snapshot, column: str) -> HeldGroups:
    with _making:
        columns = _of_snapshot.setdefault(snapshot, {})
        if column not in columns:
            columns[column] = HeldGroups(column, snapshot.count())
        return columns[column]
