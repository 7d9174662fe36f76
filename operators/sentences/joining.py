"""Pieces that are too short, or too many of one text: each is joined with its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mnemic.arrays import Integers
from mnemic.compiled import compiled


@dataclass(frozen=True)
class Joined:
    """Units of pieces: the ``firsts`` and ``lasts`` piece of each, and how many each text has; int64 [n] each."""

    firsts: Integers
    lasts: Integers
    counts: Integers

    @classmethod
    def of(cls, starts: Integers, ends: Integers, counts: Integers, shortest: Integers, longest: int) -> Joined:
        """Of pieces, of which text i has ``counts[i]``: those of fewer than ``shortest[i]`` characters are joined.

        One is joined with the next, the last of a text with the one before. No unit becomes longer than ``longest`` by
        it.
        """
        firsts, units = _joined(starts, ends, counts, shortest, longest)
        return cls(firsts, np.append(firsts, len(starts))[1:] - 1, units)


@compiled
def _joined(starts: Any, ends: Any, counts: Any, shortest: Any, longest: int) -> tuple[Any, Any]:
    firsts, units = np.empty(len(starts), np.int64), np.empty(len(counts), np.int64)
    count, piece = 0, 0
    for text in range(len(counts)):
        begin, before = piece, count
        end, first, last = begin + counts[text], 0, 0
        while piece < end:
            short = last - first < shortest[text]
            short_at_end = piece == end - 1 and ends[piece] - starts[piece] < shortest[text]
            if piece == begin or not (short or short_at_end) or ends[piece] - first > longest:
                firsts[count] = piece
                count += 1
                first = starts[piece]
            last = ends[piece]
            piece += 1
        units[text] = count - before
    return firsts[:count], units
