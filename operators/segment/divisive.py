"""Greedy bisection: a tree of events, from the whole text down (TreeSeg, arXiv 2407.12028).

The segment whose division lowers the squared error most is divided where that is, and so on. Unlike dynamic programming
this never looks back, but its splits nest: the first k cuts are the coarse segmentation of which the next are parts,
and the gains are a scale on which to stop. With prefix sums of the vectors a division is found in O(length x d).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Flags, Floats
from mnemic.compiled import compiled


@dataclass(frozen=True)
class Division:
    """Units [first, end) divided before unit ``middle``, which lowers the squared error by ``gain``."""

    first: int
    middle: int
    end: int
    gain: float


def divisions(
    vectors: npt.NDArray[np.float32],
    weights: Floats,
    *,
    segments: int | None = None,
    penalty: float = 0.0,
    shortest: int = 1,
    longest: int | None = None,
) -> list[Division]:
    """The divisions of a text in the order in which they are made; each is of a part of an earlier one.

    ``vectors`` is float32 [n, d], ``weights`` float64 [n]. Stops at ``segments`` segments or, without a number, where
    the best division gains no more than ``penalty``; segments of more than ``longest`` units are divided all the same.
    No part has fewer than ``shortest`` units, but of those that are too long.
    """
    count = len(vectors)
    sums = np.zeros((count + 1, vectors.shape[1]))
    np.cumsum(vectors * weights[:, None], axis=0, out=sums[1:])
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    waiting: list[tuple[bool, float, int, int, int]] = []

    def look_at(first: int, end: int) -> None:
        overlong = longest is not None and end - first > longest
        least = min(shortest, (end - first) // 2) if overlong else shortest
        middle, gain = _best_division(sums, mass, first, end, least)
        if middle:
            heapq.heappush(waiting, (not overlong, -gain, first, middle, end))

    look_at(0, count)
    done: list[Division] = []
    while waiting:
        short_enough, loss, first, middle, end = heapq.heappop(waiting)
        if short_enough and (len(done) + 1 >= segments if segments is not None else -loss <= penalty):
            break
        done.append(Division(first, middle, end, -loss))
        look_at(first, middle)
        look_at(middle, end)
    return done


def cuts_of(divisions: list[Division], count: int) -> tuple[Flags, Floats]:
    """Cuts, and at each the gain of its division (NaN elsewhere): bool and float64 [count - 1]."""
    cuts, gains = np.zeros(count - 1, np.bool_), np.full(count - 1, np.nan)
    for division in divisions:
        cuts[division.middle - 1] = True
        gains[division.middle - 1] = division.gain
    return cuts, gains


@compiled
def _best_division(sums: Floats, mass: Floats, first: int, end: int, shortest: int) -> tuple[int, float]:
    """(first unit of the right part, gain) of the best division; (0, 0) where the segment is too short for one."""
    whole = 0.0
    for axis in range(sums.shape[1]):
        whole += (sums[end, axis] - sums[first, axis]) ** 2
    best, gain = 0, -1.0
    for middle in range(first + shortest, end - shortest + 1):
        left = right = 0.0
        for axis in range(sums.shape[1]):
            left += (sums[middle, axis] - sums[first, axis]) ** 2
            right += (sums[end, axis] - sums[middle, axis]) ** 2
        weight, other = mass[middle] - mass[first], mass[end] - mass[middle]
        if weight <= 0.0 or other <= 0.0:
            continue
        value = left / weight + right / other - whole / (weight + other)
        if value > gain:
            best, gain = middle, value
    return best, max(gain, 0.0)
