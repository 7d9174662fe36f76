"""The gaps that become event boundaries, given a score for each.

A cut-off is always a document's own, for scores of different documents are not on one scale. It is mean +
``deviations`` standard deviations over all its gaps or, as EM-LLM does it (arXiv 2407.09450, equation 1), over those
before. Or it is a percentile (LangChain's and LlamaIndex's rule), or the score of the k-th best, for a number of events
or a mean length. Of neighbouring gaps above it only the local maximum is cut where the score is a *depth*. Else one
change of topic would be cut two or three times (300 TIAGE dialogues, mean + 0.5 deviations: Pk 43.1 instead of 43.9).

Functions take ``scores`` float64 [n - 1], NaN at hard cuts, and ``ends`` bool [n - 1], the hard cuts, of any number of
documents in order. Cut-offs are float64 [n - 1], NaN at hard cuts.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Flags, Floats, Integers
from mnemic.compiled import compiled

WARM_UP = 8
"""Gaps that a trailing cut-off must have seen before it cuts."""


def over_all_gaps(scores: Floats, ends: Flags, deviations: float) -> Floats:
    """Cut-offs float64 [n - 1]: mean + ``deviations`` (population) standard deviations of each document's scores."""
    which, gaps = np.cumsum(ends), np.flatnonzero(~ends)
    which = which[gaps]
    # bincount adds in order of position, so a document's sums do not depend on its neighbours.
    counts = np.bincount(which)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(which, scores[gaps]) / counts
        variance = np.bincount(which, (scores[gaps] - mean[which]) ** 2) / counts
    threshold = np.full(len(scores), np.nan)
    threshold[gaps] = mean[which] + deviations * np.sqrt(variance[which])
    return threshold


def over_gaps_before(scores: Floats, ends: Flags, deviations: float, window: int) -> Floats:
    """Cut-offs float64 [n - 1] from the up to ``window`` gaps before each gap, in its document.

    A cut-off is their mean + ``deviations`` (population) standard deviations. It is infinite for the first `WARM_UP`
    gaps of a document: statistics of fewer say nothing.
    """
    return trailing(scores, ends, deviations, window, np.zeros((1, 2)))[0]


def trailing(scores: Floats, ends: Flags, deviations: float, window: int, sums: Floats) -> tuple[Floats, Floats]:
    """`over_gaps_before` in parts: the cut-offs, and what the next part needs.

    ``sums`` float64 [k + 1, 2] are the running sums of the scores and their squares at the last k <= ``window`` gaps of
    the open document; for its first part a row of zeros.
    """
    threshold = np.full(len(scores), np.nan)
    running = np.concatenate([sums, np.zeros((len(scores), 2))])
    first = _trailing(scores, ends, deviations, window, running, threshold)
    return threshold, running[max(first, len(running) - 1 - window) :].copy()


def percentile(scores: Floats, ends: Flags, percent: float) -> Floats:
    """Cut-offs float64 [n - 1]: the percentile of each document's scores, interpolated linearly."""
    threshold = np.full(len(scores), np.nan)
    for first, last in spans(ends):
        if last > first:
            threshold[first:last] = np.percentile(scores[first:last], percent)
    return threshold


def at_rank(scores: Floats, candidates: Flags, ends: Flags, ranks: Integers) -> Floats:
    """Cut-offs float64 [n - 1] below the ``ranks`` best candidates of each document, and not below the next one.

    ``candidates`` is bool [n - 1]; ``ranks`` int64 [documents], in the order of `spans`. The cut-off is the score of
    the best candidate that is left out, or -infinity where none is. Equal scores are cut together or not at all.
    """
    threshold = np.full(len(scores), np.nan)
    for (first, last), rank in zip(spans(ends), ranks.tolist(), strict=True):
        best = np.sort(scores[first:last][candidates[first:last]])[::-1]
        threshold[first:last] = best[rank] if rank < len(best) else -np.inf
    return threshold


def local_maxima(scores: Floats, ends: Flags) -> Flags:
    """Bool [n - 1]: gaps with no higher score beside them; the first of equal ones."""
    padded = np.concatenate([[-np.inf], np.where(ends, -np.inf, scores), [-np.inf]])
    highest: Flags = (padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]) & ~ends
    return highest


def spans(ends: Flags) -> list[tuple[int, int]]:
    """Gaps [first, last) of every document; a document of one unit has none."""
    bounds = np.concatenate([[-1], np.flatnonzero(ends), [len(ends)]])
    return [(first + 1, last) for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


@compiled
def _trailing(scores: Floats, ends: Flags, deviations: float, window: int, running: Floats, threshold: Floats) -> int:
    """Fills ``running`` and ``threshold``; the row of ``running`` at which the last document begins."""
    earlier = len(running) - 1 - len(scores)
    first = 0
    for gap in range(len(scores)):
        here = earlier + gap
        if ends[gap]:
            first = here + 1
            continue
        begin = max(first, here - window)
        seen = here - begin
        if seen < WARM_UP:
            threshold[gap] = np.inf
        else:
            mean = (running[here, 0] - running[begin, 0]) / seen
            variance = max(0.0, (running[here, 1] - running[begin, 1]) / seen - mean * mean)
            threshold[gap] = mean + deviations * np.sqrt(variance)
        running[here + 1, 0] = running[here, 0] + scores[gap]
        running[here + 1, 1] = running[here, 1] + scores[gap] * scores[gap]
    return first
