"""The temperature of the distribution: by the geometry of the keys, then tuned on validation text.

It has to follow the scale of the keys. 0.2 of the median squared distance of the nearest neighbour was the optimum for
both taps that we tried, where published constants run from 1 to 200. Of a geometric
grid around it, the one is taken at which kNN-LM has the lowest perplexity on validation tokens, with the weight of the
mixture chosen for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.mixture import NOTHING, best_weight, perplexity
from operators.teacher.distribution import distribution

SHARE = 0.2
"""Of the median squared distance of the nearest neighbour."""

FACTORS = tuple(2.0 ** (step / 2) for step in range(-4, 5))
"""Of the geometry's temperature that are tried: a quarter to four, in steps of the root of two."""


def by_geometry(distances: NDArray[np.float32], votes: NDArray[np.int32]) -> float:
    """0.2 of the median distance of the nearest neighbour that votes, of rows [n, k]; copies are left out."""
    nearest = np.where(votes >= 0, distances, np.inf).min(axis=1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest) & (nearest > 0)]
    return SHARE * float(np.median(nearest)) if len(nearest) else 1.0


@dataclass(frozen=True)
class Tuned:
    """The temperature, the weight of the mixture, and the perplexities without and with the neighbours."""

    temperature: float
    weight: float
    base_perplexity: float
    perplexity: float


def tuned(
    distances: NDArray[np.float32],
    votes: NDArray[np.int32],
    token: NDArray[np.int32],
    base_logprob: NDArray[np.float32],
    start: float,
    factors: Sequence[float] = FACTORS,
) -> Tuned:
    """The best temperature around ``start`` for validation tokens: [n, k] of neighbours, [n] of the rest.

    Of temperatures that are equally good the nearest to ``start`` is taken.
    """
    tried = []
    for factor in factors:
        label = distribution(distances, votes, token, start * factor, 1).label
        weight, score = best_weight(base_logprob, np.log(np.maximum(label.astype(np.float64), NOTHING)))
        tried.append((score, abs(math.log(factor)), factor, weight))
    score, _, factor, weight = min(tried)
    return Tuned(start * factor, weight, perplexity(-base_logprob.astype(np.float64)), score)
