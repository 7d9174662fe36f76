"""Rows of a dataset that one release has and another has not, and those that differ, by the dataset's key.

Fragments that both versions of one dataset share are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import RowIds
from mnemic.dataset import Snapshot
from mnemic.difference.matching import ROW, match
from mnemic.difference.values import differing

PAIRS_AT_ONCE = 8192
BYTES_AT_ONCE = 64 << 20
"""Pairs of rows that are compared at once, and about how many bytes of a side these have."""

Key = tuple[Any, ...]


@dataclass
class RowChanges:
    """Rows ``added``, ``removed`` and ``changed``; of these the number that each of the ``columns`` changed.

    ``examples`` are the first keys of each sort, "added", "removed" and "changed", in the order of keys.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[Key]] = field(default_factory=dict)

    @property
    def none(self) -> bool:
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Side:
    """A version of a dataset, its content (``where``) and the fragments that are to be read."""

    snapshot: Snapshot
    where: str | None
    fragments: tuple[int, ...]

    def keys(self, key: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of ``key`` and `_rowid`."""
        if self.fragments:
            for batch in self.snapshot.scan(key, self.where, self.fragments, row_ids=True, batch_size=65536):
                yield batch.select([*key, ROW])

    @property
    def rows(self) -> int:
        chosen = set(self.fragments)
        return sum(fragment.rows for fragment in self.snapshot.fragments if fragment.id in chosen)

    @property
    def at_once(self) -> int:
        """Pairs that are compared at once, by the bytes of a mean row."""
        mean = self.snapshot.data_bytes / max(1, self.snapshot.rows_of_manifest)
        return max(1, min(PAIRS_AT_ONCE, int(BYTES_AT_ONCE / max(mean, 1.0))))


def compare_rows(
    before: Snapshot | None,
    after: Snapshot | None,
    key: Sequence[str],
    columns: Sequence[str],
    where: str | None = None,
    limit: int = 10,
) -> RowChanges:
    """Match the rows of two snapshots by ``key`` and compare the values of ``columns``, which both have.

    ``limit``: keys of each sort that are kept as examples.
    """
    left, right = _sides(before, after, where)
    changes, changed_keys = RowChanges(), _Examples(key, limit)
    added, removed = _Examples(key, limit), _Examples(key, limit)
    sides = [side for side in (left, right) if side is not None]
    if not any(side.fragments for side in sides):
        return changes
    mine, other = (iter(()) if side is None else side.keys(key) for side in (left, right))
    for matches in match(mine, other, key, sum(side.rows for side in sides)):
        changes.removed += len(matches.removed)
        changes.added += len(matches.added)
        removed.add(matches.removed)
        added.add(matches.added)
        if left is not None and right is not None:
            _compare(left, right, matches.left, matches.right, columns, changes, changed_keys)
    changes.examples = {
        name: examples.first
        for name, examples in (("added", added), ("removed", removed), ("changed", changed_keys))
        if examples.first
    }
    changes.columns = dict(sorted(changes.columns.items()))
    return changes


def _sides(before: Snapshot | None, after: Snapshot | None, where: str | None) -> list[Side | None]:
    """Both sides, without the fragments that are the same in two versions of one dataset: equal ids, equal files."""
    shared: set[tuple[int, tuple[str, ...]]] = set()
    if before is not None and after is not None and before.uri == after.uri:
        ids = [{(fragment.id, fragment.files) for fragment in one.fragments} for one in (before, after)]
        shared = ids[0] & ids[1]
    return [
        None
        if one is None
        else Side(one, where, tuple(part.id for part in one.fragments if (part.id, part.files) not in shared))
        for one in (before, after)
    ]


def _compare(
    left: Side,
    right: Side,
    rows: RowIds,
    rows_right: RowIds,
    columns: Sequence[str],
    changes: RowChanges,
    examples: _Examples,
) -> None:
    step = min(left.at_once, right.at_once)
    for start in range(0, len(rows) if columns else 0, step):
        part = slice(start, start + step)
        mine = left.snapshot.take_rows(rows[part], columns)
        other = right.snapshot.take_rows(rows_right[part], columns)
        any_column = np.zeros(len(mine), np.bool_)
        for name in columns:
            mask = differing(mine[name].combine_chunks(), other[name].combine_chunks())
            if mask.any():
                changes.columns[name] = changes.columns.get(name, 0) + int(mask.sum())
                any_column |= mask
        if any_column.any():
            changes.changed += int(any_column.sum())
            examples.add(left.snapshot.take_rows(rows[part][any_column], list(examples.key)))


class _Examples:
    """The first keys of many."""

    def __init__(self, key: Sequence[str], limit: int) -> None:
        self.key, self._limit = tuple(key), limit
        self.first: list[Key] = []

    def add(self, rows: pa.Table) -> None:
        if not len(rows) or not self._limit:
            return
        first = rows.select(list(self.key)).sort_by([(name, "ascending") for name in self.key])
        columns = [first[name].slice(0, self._limit).to_pylist() for name in self.key]
        self.first = sorted([*self.first, *zip(*columns, strict=True)], key=_order)[: self._limit]


def _order(key: Key) -> tuple[tuple[bool, Any], ...]:
    return tuple((value is None, "" if value is None else value) for value in key)
