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
