"""Merge small fragments, and those that hold many deleted rows, into ones that are read at once.

Every build appends at least a fragment to each dataset that it changes, and a fragment costs a file for each step that
grew columns on it. Merged are fragments that stand beside each other and hold every column: for one that is pending
Lance would write nulls, and it would look finished. Rows keep their ids, and all rows of one input stay in one
fragment, in their order. Indexes have to go before, and are built anew after it: Lance carries an index along with the
ids of rows that were deleted, and then a search for words gives these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mnemic.dataset.snapshot import FragmentInfo, Snapshot
from mnemic.dataset.store import Dataset

MOST_ROWS = 1 << 18
MOST_BYTES = 64 << 20
"""Rows and bytes of a merged fragment, at most: a worker holds two of them."""

FEWEST = 4
"""Fragments that are worth merging; fewer wait, so that a large one is not written again for each small one."""

MOST_DELETED = 0.1
"""Share of deleted rows from which on a fragment is written anew."""

DUE = 32
"""Fragments that would go by which compaction is called due."""


def groups(
    snapshot: Snapshot, side: Callable[[FragmentInfo], object] = lambda fragment: None
) -> list[tuple[FragmentInfo, ...]]:
    """The runs of fragments that are worth merging. Fragments of two values of ``side`` are never merged.

    There are none where rows have no ids that would stay.
    """
    if not snapshot.native.has_stable_row_ids:
        return []
    every = frozenset[int]().union(*(snapshot.field_ids(column) for column in snapshot.schema.names))

    def alike(fragment: FragmentInfo) -> object:
        return (side(fragment),) if every <= fragment.fields else None

    return [group for group in _runs(snapshot.fragments, alike) if _worth(group)]


def merge(dataset: Dataset, group: Sequence[FragmentInfo]) -> None:
    """Merge a group of fragments into one. The dataset has no index, and this process holds the bank's lease."""
    chosen = {fragment.id for fragment in group}
    others = [fragment.id for fragment in dataset.require().fragments if fragment.id not in chosen]
    dataset.change(
        lambda native: native.optimize.compact_files(
            target_rows_per_fragment=2**31 - 1,
            materialize_deletions=True,
            materialize_deletions_threshold=0.0,
            excluded_fragment_ids=others,
        )
    )


def fewer(snapshot: Snapshot, side: Callable[[FragmentInfo], object] = lambda fragment: None) -> int:
    """Fragments that compaction would save; one that is only written anew counts as one."""
    return sum(max(1, len(group) - 1) for group in groups(snapshot, side))


def _runs(
    fragments: Sequence[FragmentInfo], alike: Callable[[FragmentInfo], object]
) -> Iterator[tuple[FragmentInfo, ...]]:
    """Neighbours that are alike and within the bounds together; those for which ``alike`` gives None are left out."""
    run: list[FragmentInfo] = []
    rows = size = 0
    kind_of_run: object = None
    for fragment in fragments:
        kind = alike(fragment)
        rows, size = rows + fragment.rows, size + fragment.bytes
        if run and (kind != kind_of_run or rows > MOST_ROWS or size > MOST_BYTES):
            yield tuple(run)
            run = []
        if not run:
            rows, size, kind_of_run = fragment.rows, fragment.bytes, kind
        if kind is not None:
            run.append(fragment)
    if run:
        yield tuple(run)


def _worth(group: Sequence[FragmentInfo]) -> bool:
    deleted = sum(fragment.deleted for fragment in group)
    return len(group) >= FEWEST or deleted > MOST_DELETED * (deleted + sum(fragment.rows for fragment in group))
