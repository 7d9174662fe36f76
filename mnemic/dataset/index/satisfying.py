"""The rows of a small dataset that satisfy a condition, held for conditions that are asked again: tenants, mostly.

A search of words with a condition makes a mask over all rows first, and one search of a text asks the same words under
several conditions. Of a small dataset the words are looked up once without any, and rows are ruled out by what is held.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnemic.arrays import RowIds
from mnemic.dataset.index.rows import SMALL, row_ids_where
from mnemic.dataset.snapshot import Snapshot

PATIENCE = 2
"""Questions with the same condition of which the last one reads its rows."""

CONDITIONS = 64
"""Conditions whose rows are held, the last ones: of 50,000 rows they take 25 MB."""

LONGEST = 10_000
"""Characters of a condition that is remembered."""

LEAST_SHARE = 8
"""Conditions that leave less than an eighth of the rows are not held: whoever is given all rows finds few of them."""

RARE = 1_000
"""Conditions of which is remembered that they leave less."""


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
        self._rows: OrderedDict[str, RowIds] = OrderedDict()
        self._questions: Counter[str] = Counter()
        self._rare = set[str]()
        self._lock = threading.Lock()

    def rows(self, snapshot: Snapshot, where: str) -> RowIds | None:
        """Row ids, ascending, of the rows of ``snapshot`` that satisfy ``where``; None where they are not held."""
        if not 0 < self.count <= SMALL or len(where) > LONGEST:
            return None
        with self._lock:
            if where in self._rows:
                self._rows.move_to_end(where)
                return self._rows[where]
            if where in self._rare or not self._asked_again(where):
                return None
            rows = np.sort(row_ids_where(snapshot, where))
            if LEAST_SHARE * len(rows) < self.count:
                if len(self._rare) >= RARE:
                    self._rare.clear()
                self._rare.add(where)
                return None
            self._rows[where] = rows
            if len(self._rows) > CONDITIONS:
                self._rows.popitem(last=False)
            return rows

    def _asked_again(self, where: str) -> bool:
        self._questions[where] += 1
        if self._questions[where] >= PATIENCE:
            del self._questions[where]
            return True
        if len(self._questions) > CONDITIONS:
            self._questions.clear()
        return False


_of_snapshot: weakref.WeakKeyDictionary[Snapshot, SatisfyingRows] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _held(snapshot: Snapshot) -> SatisfyingRows:
    with _making:
        if snapshot not in _of_snapshot:
            _of_snapshot[snapshot] = SatisfyingRows(snapshot.count())
        return _of_snapshot[snapshot]
