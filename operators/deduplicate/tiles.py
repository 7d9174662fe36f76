"""The judge where sets do not fit into memory together: some documents against some of their candidates at a time.

All similarities of a block of documents are computed tile by tile, and then the block is decided about in rank order,
so that the answer is that of `operators.deduplicate.judge`. A text is read once for a block instead of once for each
document.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers
from mnemic.compiled import compiled
from operators.deduplicate.buckets import Buckets, keep_in
from operators.deduplicate.listing import listed
from operators.deduplicate.shingle_sets import ShingleSets, common_in, enter, flattened

_MOST_PROPOSED = 2_000_000
"""Similarities that a block holds before it is decided about, 56 bytes each at the peak."""

Listed = tuple[Integers, Integers, npt.NDArray[np.float64], Integers]
"""Document, other, similarity and buckets shared of comparisons that are listed."""


def judge_in_tiles(
    buckets: Buckets,
    first: int,
    last: int,
    lengths: Integers,
    sets: ShingleSets,
    threshold: float,
    keeper: Integers,
    unlisted: Integers,
    nearest: int,
    parent: Integers,
) -> tuple[int, Listed]:
    """Judge documents from ``first`` on, at most to ``last - 1``: the document after them, and the listed comparisons.

    ``lengths`` (shingles), ``keeper``, ``unlisted`` and ``parent`` are int64 [documents]; the last three are updated.
    """
    fitting = int(np.searchsorted(np.cumsum(lengths[first:last]), sets.capacity, "right"))
    proposed, bounds = buckets.proposals(first, first + max(fitting, 1), _MOST_PROPOSED)
    last = first + len(bounds) - 1
    others = np.unique(proposed[:, 0])
    similarity = np.zeros(len(proposed))
    own = flattened(sets.fetch(list(range(first, last)))) if len(others) else flattened([])
    tiles = np.cumsum(lengths[others]) // sets.capacity
    for tile in np.unique(tiles):
        here = others[tiles == tile]
        _compare(*own, here, *flattened(sets.fetch(here.tolist())), proposed, bounds, similarity)
    return last, _decided(
        first, last, proposed, bounds, similarity, threshold, keeper, unlisted, nearest, parent, *buckets.filled
    )


@compiled
def _compare(
    own: Any, own_bounds: Any, others: Any, flat: Any, flat_bounds: Any, proposed: Any, bounds: Any, similarity: Any
) -> None:
    """Fill in the similarities of all documents of a block to those of the ``others`` int64, ascending."""
    table = np.zeros(1024, np.uint64)
    for row in range(len(bounds) - 1):
        start, end = own_bounds[row], own_bounds[row + 1]
        entered = False
        for at in range(bounds[row], bounds[row + 1]):
            place = np.searchsorted(others, proposed[at, 0])
            if place == len(others) or others[place] != proposed[at, 0]:
                continue
            if not entered:
                table = enter(own, start, end, np.zeros(1024, np.uint64))
                entered = True
            common = common_in(flat, flat_bounds[place], flat_bounds[place + 1], table)
            union = end - start + flat_bounds[place + 1] - flat_bounds[place] - common
            similarity[at] = common / union if union else 0.0


@compiled
def _decided(
    first: int,
    last: int,
    proposed: Any,
    bounds: Any,
    similarity: Any,
    threshold: float,
    keeper: Any,
    unlisted: Any,
    nearest: int,
    parent: Any,
    groups: Any,
    group_bounds: Any,
    starts: Any,
    filled: Any,
    members: Any,
) -> tuple[Any, Any, Any, Any]:
    size = 0  # comparisons are moved to the front of the arrays that they stand in
    others, shared = proposed[:, 0].copy(), proposed[:, 1].copy()
    document_of = np.empty(len(proposed), np.int64)
    for document in range(first, last):
        begin = size
        for at in range(bounds[document - first], bounds[document - first + 1]):
            if keeper[others[at]] >= 0:  # of the same block, and has fallen
                continue
            document_of[size] = document
            others[size], shared[size], similarity[size] = others[at], shared[at], similarity[at]
            size += 1
            if similarity[size - 1] >= threshold:
                keeper[document] = others[size - 1]
                break
        if keeper[document] < 0:
            keep_in(document, groups, group_bounds, starts, filled, members)
        chosen = listed(document, others[begin:size], similarity[begin:size], keeper[document] >= 0, nearest, parent)
        end, size = size, begin
        for at in range(begin, end):
            if chosen[at - begin]:
                others[size], shared[size], similarity[size] = others[at], shared[at], similarity[at]
                size += 1
        unlisted[document] = end - size
    return document_of[:size].copy(), others[:size].copy(), similarity[:size].copy(), shared[:size].copy()
