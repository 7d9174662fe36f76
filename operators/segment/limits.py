"""Lengths that hold: no event of fewer than the shortest units where it can be helped, none of more than the longest.

Of cuts nearer to each other than the shortest event the higher score stays. A piece that is too long is cut from its
left, each time at the highest score in the second half of the units that still fit. That is linear in the document, and
no piece is cut much smaller than it needs to be. Only the maximum is a promise; a unit is never divided. `in_passing`
decides from left to right, as a stream must: a cut too soon after the last one is passed over, and one is made when an
event is full.
"""

from __future__ import annotations

import bisect

import numpy as np

from mnemic.arrays import Flags, Floats, Integers
from mnemic.compiled import compiled


def every(size: int, ends: Flags) -> Flags:
    """Gaps to cut for blocks of ``size`` units, counted from each document's start; bool [n - 1]."""
    positions = np.arange(len(ends) + 1)
    starts = np.concatenate([[True], ends])
    first = np.maximum.accumulate(np.where(starts, positions, 0))
    chosen: Flags = ends | ((positions - first)[1:] % size == 0)
    return chosen


def keep_apart(cuts: Flags, scores: Floats, ends: Flags, min_units: int) -> Flags:
    """Drop cuts, bool [n - 1], that leave a piece of fewer than ``min_units`` units, lowest scores first."""
    if min_units <= 1:
        return cuts
    apart = ends.copy()
    bounds = [0, *(np.flatnonzero(ends) + 1).tolist(), len(cuts) + 1]
    candidates = np.flatnonzero(cuts & ~ends)
    for gap in candidates[np.argsort(-scores[candidates], kind="stable")].tolist():
        place = bisect.bisect(bounds, gap + 1)
        if gap + 1 - bounds[place - 1] >= min_units and bounds[place] - (gap + 1) >= min_units:
            bounds.insert(place, gap + 1)
            apart[gap] = True
    return apart


def in_passing(cuts: Flags, ends: Flags, min_units: int, max_units: int) -> Flags:
    """The cuts, bool [n - 1], after one pass that drops and adds some (EM-LLM's lengths: 8 to 128 tokens)."""
    return passing(cuts, ends, min_units, max_units, 0)[0]


def passing(cuts: Flags, ends: Flags, min_units: int, max_units: int, length: int) -> tuple[Flags, int]:
    """`in_passing` in parts: the remaining cuts, bool [n - 1], and the units of the event that is open after them.

    ``length`` units of an event were open before the unit ahead of the first gap.
    """
    remaining = np.zeros(len(cuts), np.bool_)
    return remaining, _pass(cuts, ends, min_units, max_units, length, remaining)


def limit(cuts: Flags, scores: Floats, words: Integers, max_units: int, max_words: int, *, min_units: int = 1) -> Flags:
    """Add cuts until no piece has more than ``max_units`` units or, unless it is a single unit, ``max_words`` words.

    A piece is cut where ``scores`` float64 [n - 1] is highest; where it is NaN for a whole piece, pieces are filled as
    far as they go. ``words`` int64 [n] are each unit's words.
    """
    bounds = np.concatenate([[0], np.flatnonzero(cuts) + 1, [len(words)]])
    total = np.concatenate([[0], np.cumsum(words)])
    too_long = (np.diff(bounds) > max_units) | ((np.diff(total[bounds]) > max_words) & (np.diff(bounds) > 1))
    limited = cuts.copy()
    for piece in np.flatnonzero(too_long).tolist():
        start, end = int(bounds[piece]), int(bounds[piece + 1])
        while True:
            fits = int(np.searchsorted(total, total[start] + max_words, side="right")) - 1
            fits = max(start + 1, min(fits, start + max_units))
            if fits >= end:
                break
            last = max(start + 1, min(fits, end - min_units))
            first = min(start + max(min_units, (fits - start + 1) // 2), last)
            choice = np.nan_to_num(scores[first - 1 : last][::-1], nan=0.0)
            start = last - int(np.argmax(choice))
            limited[start - 1] = True
    return limited


@compiled
def _pass(cuts: Flags, ends: Flags, min_units: int, max_units: int, length: int, remaining: Flags) -> int:
    for gap in range(len(cuts)):
        length += 1
        if ends[gap] or length >= max_units or (cuts[gap] and length >= min_units):
            remaining[gap] = True
            length = 0
    return length
