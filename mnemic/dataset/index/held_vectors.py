"""The vectors of a snapshot without a vector index, in the memory of a process that answers many searches.

Lance reads and decodes all of them for every search: 13 ms for 15,000 of 384 components; a product takes 1 ms.
Candidates are chosen in float32, and their distances computed anew in float64, so that equal vectors have equal
distances. They are those of Lance but for their last bit, 6e-8.
"""

from __future__ import annotations

import threading
import weakref

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Floats, Integers, RowIds
from mnemic.dataset.index.recent import Recent, remembered
from mnemic.dataset.index.rows import read_wide, row_ids_where
from mnemic.dataset.snapshot import Snapshot
from mnemic.vectors import vectors

_SPARE = 64
"""Candidates beside those that are wanted, for what float32 rounds."""
_FEW = 4
"""A condition that leaves a quarter of the rows or less has these copied together and compared alone."""


class HeldVectors:
    """The vectors of ``column`` in ``snapshot``: float32 [rows, d]."""

    def __init__(self, snapshot: Snapshot, column: str) -> None:
        self._snapshot = weakref.ref(snapshot)
        self._numbers, self._vectors = _read(snapshot, column)
        lengths = np.linalg.norm(self._vectors, axis=1)
        self._inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        self._rows: Recent[Integers] = Recent()
        self._lock = threading.Lock()

    def nearest(self, query: npt.NDArray[np.float32], count: int, where: str | None) -> pa.Table:
        """The ``count`` rows nearest to ``query`` [d] by cosine, of those that satisfy ``where``, nearest first.

        Columns `_distance` float32 and `_rowid`. Equal distances are in the order of row ids.
        """
        rows = self._satisfying(where)
        if rows is None or _FEW * len(rows) > len(self._numbers):
            near = (self._vectors @ query) * self._inverse
            near = near if rows is None else near[rows]
        else:
            near = (self._vectors[rows] @ query) * self._inverse[rows]
        some = min(len(near), count + _SPARE)
        best = np.argpartition(-near, some - 1)[:some] if 0 < some < len(near) else np.arange(len(near))
        places = best if rows is None else rows[best]
        distances = distances_of(self._vectors[places], query)
        order = np.lexsort((self._numbers[places], distances))[:count]
        return pa.table({"_distance": pa.array(distances[order]), "_rowid": pa.array(self._numbers[places][order])})

    def of(self, numbers: RowIds) -> npt.NDArray[np.float32] | None:
        """The vectors of the rows ``numbers`` [n], float32 [n, d]; None where one of them has none."""
        places = np.minimum(np.searchsorted(self._numbers, numbers), max(len(self._numbers) - 1, 0))
        there = len(self._numbers) > 0 and bool((self._numbers[places] == numbers).all())
        return self._vectors[places] if there else None

    def _satisfying(self, where: str | None) -> Integers | None:
        """Places of the rows that satisfy a condition, in order; None for all."""
        if where is None:
            return None
        with self._lock:
            if where in self._rows:
                return self._rows[where]
        snapshot = self._snapshot()
        assert snapshot is not None, "whoever searches holds the snapshot"
        rows = np.flatnonzero(np.isin(self._numbers, row_ids_where(snapshot, where), assume_unique=True))
        if remembered(where):
            with self._lock:
                self._rows[where] = rows
        return rows


_held: weakref.WeakKeyDictionary[Snapshot, dict[str, HeldVectors]] = weakref.WeakKeyDictionary()


def hold_vectors(snapshot: Snapshot, column: str) -> None:
    """Hold the vectors of ``column`` as long as ``snapshot`` lives: every search of it compares with them in memory."""
    columns = _held.setdefault(snapshot, {})
    if column not in columns:
        columns[column] = HeldVectors(snapshot, column)


def held_vectors(snapshot: Snapshot, column: str) -> HeldVectors | None:
    """The vectors that `hold_vectors` holds; None for none."""
    return _held.get(snapshot, {}).get(column)


def distances_of(rows: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The cosine distances of ``rows`` [n, d] to ``query`` [d], float32 [n], computed in float64."""
    exact, sought = rows.astype(np.float64), query.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact)) * np.sqrt(sought @ sought)
    cosines = np.einsum("ij,j->i", exact, sought) / np.where(lengths > 0, lengths, 1.0)
    distances: npt.NDArray[np.float32] = (1.0 - cosines).astype(np.float32)
    return distances


def vectors_of(snapshot: Snapshot, column: str, numbers: RowIds) -> Floats:
    """The vectors of the rows ``numbers`` [n], ascending, float64 [n, d]: from memory where they are held.

    Each of these rows has one.
    """
    in_memory = held_vectors(snapshot, column)
    rows = None if in_memory is None else in_memory.of(numbers)
    if rows is not None:
        return rows.astype(np.float64)
    return vectors(read_wide(snapshot, numbers, [column])[column], np.float64)


def _read(snapshot: Snapshot, column: str) -> tuple[RowIds, npt.NDArray[np.float32]]:
    """Row ids, in order, and their vectors; rows without one are left out."""
    width, there = snapshot.schema.field(column).type.list_size, f"{column} IS NOT NULL"
    count, at = snapshot.count(there), 0
    numbers, rows = np.empty(count, np.uint64), np.empty((count, width), np.float32)
    for batch in snapshot.scan([column], there, row_ids=True):
        numbers[at : at + len(batch)] = batch["_rowid"].to_numpy()
        rows[at : at + len(batch)] = vectors(batch[column], copy=False)
        at += len(batch)
    order = np.argsort(numbers, kind="stable")
    return (numbers, rows) if np.array_equal(order, np.arange(count)) else (numbers[order], rows[order])
