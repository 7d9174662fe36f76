"""How far two segmentations of one text agree: Pk, WindowDiff and the F1 of boundaries.

All take ``cuts`` and ``reference``, bool [n - 1], one for each gap between n units. Pk (Beeferman et al. 1999) asks for
pairs of units ``window`` apart whether they belong to one segment; WindowDiff (Pevzner and Hearst 2002) whether as many
boundaries lie between them, and so also counts what is cut too often. Both are shares of pairs, 0 is perfect, and the
window is half the mean length of the reference's segments, at least 2 units. No number is complete without the density
of what was compared: of a text cut nowhere Pk is about 0.4, which many a published system does not reach.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Flags


def half_mean_length(reference: Flags) -> int:
    """Units between the two of a pair: half the mean length of the reference's segments, at least 2."""
    return max(2, round((len(reference) + 1) / (int(reference.sum()) + 1) / 2))


def pk(cuts: Flags, reference: Flags, window: int | None = None) -> float:
    """Share of pairs that are in one segment here and in two there; not a number for texts of fewer units."""
    ours, theirs = _between(cuts, reference, window)
    return float(((ours > 0) != (theirs > 0)).mean()) if len(ours) else float("nan")


def window_diff(cuts: Flags, reference: Flags, window: int | None = None) -> float:
    """Share of pairs with another number of boundaries between them; not a number for texts of fewer units."""
    ours, theirs = _between(cuts, reference, window)
    return float((ours != theirs).mean()) if len(ours) else float("nan")


def boundary_f1(cuts: Flags, reference: Flags, tolerance: int = 0) -> float:
    """F1 of boundaries, each matched at most once within ``tolerance`` gaps, from left to right; 1 if neither has any.

    Matching the leftmost free one first is optimal for points on a line with one tolerance.
    """
    ours, theirs = np.flatnonzero(cuts).tolist(), np.flatnonzero(reference).tolist()
    if not ours and not theirs:
        return 1.0
    matched = place = 0
    for gap in ours:
        while place < len(theirs) and theirs[place] < gap - tolerance:
            place += 1
        if place < len(theirs) and theirs[place] <= gap + tolerance:
            matched, place = matched + 1, place + 1
    return 2 * matched / (len(ours) + len(theirs))


def density(cuts: Flags, reference: Flags) -> float:
    """Segments for each segment of the reference."""
    return float((cuts.sum() + 1) / (reference.sum() + 1))


def _between(cuts: Flags, reference: Flags, window: int | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Boundaries between the units of each pair, in both."""
    reach = window or half_mean_length(reference)

    def counts(flags: Flags) -> npt.NDArray[np.int64]:
        total = np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
        return total[reach:] - total[:-reach] if len(total) > reach else total[:0]

    return counts(cuts), counts(reference)
