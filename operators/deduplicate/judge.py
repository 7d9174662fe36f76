"""The exact judge: candidates are compared by the true Jaccard similarity of their shingle sets.

Unverified bands remove far too much: on 111,930 documents 16 bands of 8 rows flagged 36,000 where 23,100 are duplicates
(precision 0.62). A signature's estimate has a standard deviation of 0.035 at the threshold and cannot decide either.

Documents are judged greedily in rank order, each against the kept ones only. So a chain does not collapse: where A and
B, B and C are similar but A and C are not, B falls to A. C stays, for the document that it resembles is gone. A bucket
has each kept document once, and the pairs within it are never listed. Ranks begin with the length, so compared
documents are near in rank, and a memory of a few thousand sets is enough; where it is not, they are judged in tiles.

Comparisons are as many as they must be. Those that are listed are bounded (`operators.deduplicate.listing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Integers
from mnemic.compiled import compiled
from operators.contracts import Progress
from operators.deduplicate.buckets import Buckets, keep_in, propose
from operators.deduplicate.listing import NEAREST, listed, unlinked
from operators.deduplicate.shingle_sets import ShingleSets, common_in, enter, flattened
from operators.deduplicate.tiles import judge_in_tiles

_TEXTS = 256
"""Documents judged at once."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """The decisions about documents 0, 1, ... in rank order, and the comparisons that are listed for them."""

    keeper: Integers  # [documents], the kept document that each is a duplicate of; -1: it is kept itself
    unlisted: Integers  # [documents], comparisons of each that are not listed; it was found distinct in all of them
    document: Integers  # [comparisons], and so are all below
    other: Integers
    similarity: npt.NDArray[np.float64]
    bands: Integers


def judge(
    buckets: Buckets,
    settled: int,
    lengths: Integers,
    sets: ShingleSets,
    threshold: float,
    tell: Progress,
    nearest: int = NEAREST,
) -> Judgement:
    """Judge documents that are numbered by rank; the first ``settled`` are kept and not judged.

    ``lengths`` int64 [documents] are in characters. A document is compared with its candidates in their order until one
    has a similarity of at least ``threshold``, and falls to that. Of those that it is distinct from it is listed with
    the ``nearest``, and with those that link it.
    """
    count = len(lengths)
    for document in range(settled):
        buckets.keep(document)
    keeper, unlisted, parent = np.full(count, -1, np.int64), np.zeros(count, np.int64), unlinked(count)
    empty = np.empty(0, np.int64)
    compared: list[tuple[Any, ...]] = [(empty, empty, np.empty(0), empty)]
    start = settled
    while start < count:
        end = min(start + _TEXTS, count)
        needed = buckets.needed(start, end)
        while end > start + 1 and int(lengths[needed].sum()) > 2 * sets.capacity:  # a shingle has 2 characters or more
            end = start + (end - start) // 2
            needed = buckets.needed(start, end)
        if end == start + 1 and int(lengths[needed].sum()) > 2 * sets.capacity:
            last = min(start + _TEXTS, count)
            end, those = judge_in_tiles(
                buckets, start, last, lengths, sets, threshold, keeper, unlisted, nearest, parent
            )
            compared.append(those)
        else:
            flat, bounds = flattened(sets.fetch(needed.tolist()))
            those = _judge(
                start, end, needed, flat, bounds, threshold, keeper, unlisted, nearest, parent, *buckets.arrays
            )
            compared.append(those)
        start = end
        pa.default_memory_pool().release_unused()  # of the texts that were read
        tell(start, count)
    return Judgement(keeper, unlisted, *(np.concatenate(column) for column in zip(*compared, strict=True)))


@compiled
def _judge(
    first: int,
    last: int,
    needed: Any,
    flat: Any,
    set_bounds: Any,
    threshold: float,
    keeper: Any,
    unlisted: Any,
    nearest: int,
    parent: Any,
    least: int,
    agreeing: int,
    signatures: Any,
    counts: Any,
    groups: Any,
    bounds: Any,
    starts: Any,
    filled: Any,
    members: Any,
) -> tuple[Any, Any, Any, Any]:
    """Judge documents ``first`` to ``last - 1``; the sets of ``needed`` documents (ascending) lie in ``flat``."""
    compared = np.empty((256, 3), np.int64)  # document, other, buckets shared
    similarity = np.empty(256, np.float64)
    proposed = np.empty((256, 3), np.int64)
    table = np.zeros(1024, np.uint64)
    size = 0
    for document in range(first, last):
        candidates, proposed = propose(
            document, proposed, 0, least, agreeing, signatures, counts, groups, bounds, starts, filled, members
        )
        own_start, own_end = 0, 0
        if candidates:
            own = np.searchsorted(needed, document)
            own_start, own_end = set_bounds[own], set_bounds[own + 1]
            table = enter(flat, own_start, own_end, table)
        begin = size
        # The most similar by their signatures first, of equals the better ranked.
        order = np.argsort(proposed[:candidates, 0] - proposed[:candidates, 2] * len(counts))
        for turn in range(candidates):
            best = order[turn]
            if size == len(similarity):
                compared = np.concatenate((compared, np.empty_like(compared)))
                similarity = np.concatenate((similarity, np.empty_like(similarity)))
            other = proposed[best, 0]
            at = np.searchsorted(needed, other)
            common = common_in(flat, set_bounds[at], set_bounds[at + 1], table)
            union = own_end - own_start + set_bounds[at + 1] - set_bounds[at] - common
            compared[size, 0], compared[size, 1], compared[size, 2] = document, other, proposed[best, 1]
            similarity[size] = common / union if union else 0.0
            size += 1
            if similarity[size - 1] >= threshold:
                keeper[document] = other
                break
        if candidates:
            if len(table) > 8 * (own_end - own_start) and len(table) > 1024:
                table = np.zeros(1024, np.uint64)
            else:
                table[:] = 0
        fallen = keeper[document] >= 0
        if not fallen:
            keep_in(document, groups, bounds, starts, filled, members)
        if size > begin:
            chosen = listed(document, compared[begin:size, 1].copy(), similarity[begin:size], fallen, nearest, parent)
            end, size = size, begin
            for at in range(begin, end):
                if chosen[at - begin]:
                    compared[size], similarity[size] = compared[at], similarity[at]
                    size += 1
            unlisted[document] = end - size
    return compared[:size, 0].copy(), compared[:size, 1].copy(), similarity[:size].copy(), compared[:size, 2].copy()
