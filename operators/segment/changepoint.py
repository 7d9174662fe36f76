"""Change points by dynamic programming: the segmentation of least total cost.

Kernel change points with the cosine kernel (Embed-KCPD, arXiv 2601.18788) are least squares over unit vectors
(`operators.segment.cost`). With a penalty for each segment the optimum is found in one pass over the units,
O(longest) each, as the costs come: memory is a few numbers a unit. With a number of segments it takes one pass for each
of them over a table of all costs. Lengths between ``shortest`` and ``longest`` are part of the optimisation, not mended
afterwards; ``shortest`` must be a `possible_shortest`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mnemic.arrays import Flags, Floats, Integers
from mnemic.compiled import compiled


def possible_shortest(count: int, shortest: int, longest: int) -> int:
    """``shortest``, or less where ``count`` units cannot be divided into lengths from there to ``longest``."""
    fewest = -(-count // longest)
    return min(shortest, max(1, count // max(fewest, 1)))


def penalised(blocks: Iterable[tuple[int, Floats]], count: int, penalty: float, shortest: int = 1) -> Flags:
    """Cuts that minimise the costs of the segments + ``penalty`` for each: bool [count - 1].

    ``blocks`` are `cost_blocks` of the ``count`` units. Of equal optima the one with the shortest last segment, and so
    on to the left.
    """
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    last = np.zeros(count + 1, np.int64)
    for first, block in blocks:
        _advance(block, first, penalty, shortest, best, last)
    return _cuts(last, count)


def with_count(table: Floats, segments: int, shortest: int = 1) -> Flags:
    """Cuts that minimise the costs with exactly ``segments`` segments, or the nearest possible number: bool [n - 1].

    ``table`` is `costs` of the n units. O(n x longest) for each segment.
    """
    count, longest = table.shape
    fewest, most = -(-count // longest), max(1, count // shortest)
    count_of_segments = min(max(segments, fewest), most)
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    steps = np.zeros((count_of_segments, count + 1), np.int16 if longest <= np.iinfo(np.int16).max else np.int64)
    for step in range(count_of_segments):
        best = _one_more(table, best, shortest, steps[step])
    cuts = np.zeros(count - 1, np.bool_)
    end = count
    for step in range(count_of_segments - 1, 0, -1):
        end -= int(steps[step, end])
        cuts[end - 1] = True
    return cuts


@compiled
def _advance(block: Floats, first: int, penalty: float, shortest: int, best: Floats, last: Integers) -> None:
    for row in range(block.shape[0]):
        end = first + row + 1
        lowest, chosen = np.inf, 0
        for length in range(shortest, min(block.shape[1], end) + 1):
            total = best[end - length] + block[row, length - 1]
            if total < lowest:
                lowest, chosen = total, length
        best[end] = lowest + penalty
        last[end] = chosen


@compiled
def _one_more(table: Floats, best: Floats, shortest: int, last: Integers) -> Floats:
    """Least costs with one segment more than in ``best``; ``last`` is filled with the lengths of the last segments."""
    count, longest = table.shape
    following = np.full(count + 1, np.inf)
    for end in range(1, count + 1):
        lowest, chosen = np.inf, 0
        for length in range(shortest, min(longest, end) + 1):
            total = best[end - length] + table[end - 1, length - 1]
            if total < lowest:
                lowest, chosen = total, length
        following[end] = lowest
        last[end] = chosen
    return following


def _cuts(last: Integers, count: int) -> Flags:
    cuts = np.zeros(max(count - 1, 0), np.bool_)
    end = count
    while end > 0 and last[end] > 0:
        end -= int(last[end])
        if end:
            cuts[end - 1] = True
    return cuts
