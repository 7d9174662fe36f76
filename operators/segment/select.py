"""Which gaps become event boundaries, given their scores.

The cut-off is the document's own mean + ``deviations`` standard deviations: scores of different documents are not on
one scale. Of neighbouring gaps above it only the local maximum is cut (the first of equal ones), or one change of topic
would be cut two or three times (300 TIAGE dialogues, mean + 0.5 deviations: Pk 43.1 instead of 43.9).

Then sizes are made to hold. Of cuts nearer to each other than ``min_units`` the higher score stays. A piece longer
than ``max_units`` or ``max_words`` is cut from its left, each time at the highest score in the second half of what
still fits: linear in the document, and no piece is cut much smaller than it needs to be. Only the maximum is a
promise; a unit is never divided.
"""

from __future__ import annotations

import bisect

import numpy as np
import numpy.typing as npt

from operators.segment.score import Flags, Floats


def cutoff(scores: Floats, ends: Flags, deviations: float) -> Floats:
    """Mean + ``deviations`` * (population) standard deviation of each gap's document: float64, NaN at ``ends``."""
    document = np.cumsum(ends)
    gaps = np.flatnonzero(~ends)
    which = document[gaps]
    # bincount adds in order of position, so a document's sums do not depend on its neighbours.
    counts = np.bincount(which)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(which, scores[gaps]) / counts
        variance = np.bincount(which, (scores[gaps] - mean[which]) ** 2) / counts
    threshold = np.full(len(scores), np.nan)
    threshold[gaps] = mean[which] + deviations * np.sqrt(variance[which])
    return threshold


def select(scores: Floats, ends: Flags, threshold: Floats) -> Flags:
    """Gaps to cut: ends of documents, and local maxima of ``scores`` above ``threshold``; bool [n - 1]."""
    padded = np.concatenate([[-np.inf], np.where(ends, -np.inf, scores), [-np.inf]])
    highest = (padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:])
    chosen: Flags = ends | (highest & (scores > threshold))
    return chosen


def every(size: int, ends: Flags) -> Flags:
    """Gaps to cut for blocks of ``size`` units, counted from each document's start; bool [n - 1]."""
    positions = np.arange(len(ends) + 1)
    starts = np.concatenate([[True], ends])
    first = np.maximum.accumulate(np.where(starts, positions, 0))
    chosen: Flags = ends | ((positions - first)[1:] % size == 0)
    return chosen


def keep_apart(cuts: Flags, scores: Floats, ends: Flags, min_units: int) -> Flags:
    """Drop cuts that leave a piece of fewer than ``min_units`` units, lowest scores first."""
    if min_units <= 1:
        return cuts
    kept = ends.copy()
    bounds = [0, *(np.flatnonzero(ends) + 1).tolist(), len(cuts) + 1]
    candidates = np.flatnonzero(cuts & ~ends)
    for gap in candidates[np.argsort(-scores[candidates], kind="stable")].tolist():
        place = bisect.bisect(bounds, gap + 1)
        if gap + 1 - bounds[place - 1] >= min_units and bounds[place] - (gap + 1) >= min_units:
            bounds.insert(place, gap + 1)
            kept[gap] = True
    return kept


def limit(
    cuts: Flags, scores: Floats, words: npt.NDArray[np.int64], max_units: int, max_words: int, *, min_units: int = 1
) -> Flags:
    """Add cuts until no piece has more than ``max_units`` units or, unless it is a single unit, ``max_words`` words.

    ``scores`` [n - 1] says where to cut; where it is NaN for a whole piece, pieces are filled as far as they go.
    ``words`` [n] counts each unit's words.
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
