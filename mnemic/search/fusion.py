"""One ranking out of several, and what a row's neighbours say for it.

Dense similarity and BM25 see different things (names and dates are lexical, paraphrases are not), and so do levels: a
turn says little by itself, the event and the session that it is in say what it is about. Reciprocal rank fusion joins
the lists without scaling their scores (Cormack et al. 2009). Rows next to a good one are good: a row has at least a
share of what its neighbours have, which is the contiguity of EM-LLM (arXiv 2407.09450, section 3.4) for text.

Constants were chosen on three conversations of LoCoMo (`bench.search.recall`): of 5, 10, 20, 40 and 60 a rank constant
of 10 or 20 gave 2 to 5 points more evidence in 250 words than the 60 of the paper, whose lists were a thousand long.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mnemic.arrays import Floats, Integers

RANK_CONSTANT = 20.0
DENSE_SHARE = 0.75
"""Part of its neighbour's cosine that a row has at least."""
TEXT_SHARE = 0.5
"""Part of its neighbour's BM25 score that a row has at least."""

AHEAD = 0.85
"""How far the best of a signal is ahead of the mean of its pool, as a share of its lead over the last, where all of it
counts. Of 0.8, 0.85 and 0.9, and powers from 1 to 3, 0.85 and 3 were best on the even questions of HotpotQA-100,
MuSiQue-100, LoCoMo's sessions and three sets of made chapters together (LOG.md)."""


def ranks(scores: Floats) -> Floats:
    """Rank of each score float64 [n] from 1, float64 [n]: equal ones alike, infinite for NaN, which is no score."""
    places = np.full(len(scores), np.inf)
    scored = ~np.isnan(scores)
    places[scored] = np.unique(-scores[scored], return_inverse=True)[1] + 1.0
    return places


def scaled(scores: Floats, pool: int) -> Floats:
    """Scores float64 [n] between that of the ``pool``-th best (or the worst), 0, and that of the best, 1; NaN is 0.

    Beyond the pool all have 0, and so they have where all are alike: such a signal says nothing.
    """
    descending = np.sort(scores[~np.isnan(scores)])[::-1]
    if not len(descending) or descending[0] == descending[min(pool, len(descending)) - 1]:
        return np.zeros(len(scores))
    best, last = descending[0], descending[min(pool, len(descending)) - 1]
    scaled: Floats = np.clip(np.nan_to_num((scores - last) / (best - last)), 0.0, 1.0)
    return scaled


def certainty(scores: Floats, pool: int) -> float:
    """How much scores float64 [n] say, from 0 to 1: by how far the best is ahead of most of the ``pool`` best.

    That is one less the mean of the `scaled` scores of these, as a share of `AHEAD`, to the third power; 1 for none.
    """
    best = np.sort(scaled(scores, pool)[~np.isnan(scores)])[::-1][:pool]
    return min((1.0 - float(best.mean())) / AHEAD, 1.0) ** 3 if len(best) else 1.0


def with_neighbours(scores: Floats, pairs: Integers, share: float) -> Floats:
    """The larger of each score and ``share`` of a neighbour's; ``pairs`` [m, 2] are (row, neighbour).

    Scores of 0 and below, and NaN, give nothing.
    """
    best = scores.copy()
    rows, neighbours = pairs[:, 0], pairs[:, 1]
    shares = np.where(scores > 0, scores, np.nan)[neighbours] * share
    np.fmax.at(best, rows, shares)
    return best


def fuse(rankings: Iterable[Floats]) -> Floats:
    """Reciprocal rank fusion, float64 [n]: the sum over rankings, float64 [n] each, of 1 / (20 + rank)."""
    summed: Floats = np.sum([1.0 / (RANK_CONSTANT + ranking) for ranking in rankings], axis=0)
    return summed
