"""The rows of a small dataset that satisfy a condition, held for conditions that are asked again: tenants, mostly.

A search of words with a condition makes a mask over all rows first, and one search of a text asks the same words under
several conditions. Of a small dataset the words are looked up once without any, and rows are ruled out by what is held:
for 64 conditions and 50,000 rows that is 25 MB.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnemic.arrays import RowIds
from mnemic.dataset.index.recent import Questions, Recent
from mnemic.dataset.index.rows import SMALL, row_ids_where
from mnemic.dataset.snapshot import Snapshot

PATIENCE = 2
"""Questions with the same condition; the last of them reads its rows."""

LEAST_SHARE = 8
"""Conditions that leave less than an eighth of the rows are not held: whoever is given all rows finds few of them."""

RARE = 1_000
"""Conditions that are remembered to leave less."""


@dataclass(frozen=True)
class HeldConditions:
    """``rows`` are the row ids, ascending, that satisfy each of some conditions, of ``total`` rows."""

    rows: dict[str, RowIds]
    total: int

    @property
    def fewest(self) -> int:
        return min(len(rows) for rows in self.rows.values())


def held_conditions(snapshot: Snapshot, conditions: Sequence[str]) -> HeldConditions | None:
    """The rows of ``conditions``; None where those of one are not held."""
    own = _held(snapshot)
    rows = {where: own.rows(snapshot, where) for where in conditions}
    there = {where: one for where, one in rows.items() if one is not None}
    return HeldConditions(there, own.count) if len(there) == len(rows) else None


class SatisfyingRows:
    """What is held of a snapshot of ``count`` rows: the rows of the conditions that were asked last."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._rows: Recent[RowIds] = Recent()
        self._questions = Questions(PATIENCE)
        self._rare = set[str]()
        self._lock = threading.Lock()

    def rows(self, snapshot: Snapshot, where: str) -> RowIds | None:
        """Row ids, ascending, of the rows of ``snapshot`` that satisfy ``where``; None where they are not held."""
        if not 0 < self.count <= SMALL:
            return None
        with self._lock:
            if where in self._rows:
                return self._rows[where]
            if where in self._rare or not self._questions.worth(where):
                return None
            rows = np.sort(row_ids_where(snapshot, where))
            if LEAST_SHARE * len(rows) < self.count:
                if len(self._rare) >= RARE:
                    self._rare.clear()
                self._rare.add(where)
                return None
            self._rows[where] = rows
            return rows


_of_snapshot: weakref.WeakKeyDictionary[Snapshot, SatisfyingRows] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _held(snapshot: Snapshot) -> SatisfyingRows:
    with _making:
        if snapshot not in _of_snapshot:
            _of_snapshot[snapshot] = SatisfyingRows(snapshot.count())
        return _of_snapshot[snapshot]
