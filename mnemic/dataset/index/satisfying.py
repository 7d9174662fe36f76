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

LONGEST = 10_000
"""Characters of a condition that is remembered."""


LEAST_SHARE = 8
"""Conditions that leave an eighth of the rows each are answered together."""


@dataclass(frozen=True)
class HeldConditions:
    """``rows`` are the row ids, ascending, that satisfy each of some conditions, of ``total`` rows."""

    rows: dict[str, RowIds]
    total: int

    @property
    def fewest(self) -> int:
        return min(len(rows) for rows in self.rows.values())


def held_conditions(snapshot: Snapshot, conditions: Sequence[str]) -> HeldConditions | None:
    """The rows of ``conditions``; None where they are not held, or where one rules out most rows."""
    own = _held(snapshot)
    rows = {where: own.rows(snapshot, where) for where in conditions}
    there = HeldConditions({where: one for where, one in rows.items() if one is not None}, own.count)
    return there if len(there.rows) == len(rows) and LEAST_SHARE * there.fewest >= max(own.count, 1) else None


class SatisfyingRows:
    """What is held of a snapshot of ``count`` rows: the rows of the conditions that were asked last."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._rows: OrderedDict[str, RowIds] = OrderedDict()
        self._questions: Counter[str] = Counter()
        self._lock = threading.Lock()

    def rows(self, snapshot: Snapshot, where: str) -> RowIds | None:
        if self.count > SMALL or len(where) > LONGEST:
            return None
        with self._lock:
            if where in self._rows:
                self._rows.move_to_end(where)
                return self._rows[where]
            self._questions[where] += 1
            if self._questions[where] < PATIENCE:
                if len(self._questions) > CONDITIONS:
                    self._questions.clear()
                return None
            del self._questions[where]
            self._rows[where] = np.sort(row_ids_where(snapshot, where))
            if len(self._rows) > CONDITIONS:
                self._rows.popitem(last=False)
            return self._rows[where]


_of_snapshot: weakref.WeakKeyDictionary[Snapshot, SatisfyingRows] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _held(snapshot: Snapshot) -> SatisfyingRows:
    with _making:
        if snapshot not in _of_snapshot:
            _of_snapshot[snapshot] = SatisfyingRows(snapshot.count())
        return _of_snapshot[snapshot]
