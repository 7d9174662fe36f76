"""A linear model over features: logistic loss, AdaGrad (Duchi et al. 2011), one text after the other, in float64.

Nothing is added up in another order on another machine or with another number of workers: one process trains, over
texts in the order of their keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Flags, Floats, Integers
from mnemic.compiled import compiled
from operators.quality.features import BITS, features_of

_BIAS_RATE = 0.05
_LEAST = 1e-8


@compiled
def margin(features: Any, begin: int, end: int, weights: Any, bias: float) -> float:
    """The log odds of the text ``features[begin:end]``: the bias, and the mean weight of its features."""
    total = 0.0
    for place in range(begin, end):
        total += weights[features[place]]
    return bias + total / max(end - begin, 1)


@compiled
def fit(
    features: Any, ends: Any, labels: Any, shares: Any, epochs: int, rate: float, weights: Any, squares: Any
) -> float:
    """Train ``weights`` float64 in place; returns the bias. ``shares`` float64 [2] weigh bad and good texts.

    ``squares`` float64 are AdaGrad's sums. The gradient of a feature is divided by the root of their number in a text.
    """
    bias = 0.0
    for _ in range(epochs):
        begin = 0
        for text in range(len(ends)):
            end = ends[text]
            if end > begin:
                label = labels[text]
                odds = margin(features, begin, end, weights, bias)
                slope = shares[label] * (1.0 / (1.0 + np.exp(-odds)) - label)
                bias -= _BIAS_RATE * slope
                slope /= np.sqrt(np.float64(end - begin))
                for place in range(begin, end):
                    feature = features[place]
                    squares[feature] += slope * slope
                    weights[feature] -= rate * slope / np.sqrt(squares[feature] + _LEAST)
            begin = end
    return bias


@compiled
def score(features: Any, ends: Any, weights: Any, bias: float, scores: Any) -> None:
    """The probability that each text is good into ``scores`` float64; NaN for one without words."""
    begin = 0
    for text in range(len(ends)):
        end = ends[text]
        if end > begin:
            scores[text] = 1.0 / (1.0 + np.exp(-margin(features, begin, end, weights, bias)))
        else:
            scores[text] = np.nan
        begin = end


@dataclass(frozen=True, eq=False)
class LinearModel:
    """``weights`` float32 [2^20], and the ``bias``."""

    weights: Any
    bias: float

    @classmethod
    def train(cls, texts: pa.Array, good: Flags, epochs: int, rate: float) -> LinearModel:
        """Trained on ``texts`` in their order, of which some are ``good``, bool [n]; both kinds count the same."""
        features, ends = features_of(texts)
        labels = good.astype(np.int64)
        counts = np.bincount(labels, minlength=2)
        shares = len(labels) / (2.0 * np.maximum(counts, 1))
        weights, squares = np.zeros(1 << BITS), np.zeros(1 << BITS)
        bias = fit(features, ends, labels, shares, epochs, rate, weights, squares)
        return cls(weights.astype(np.float32), float(bias))

    def scores(self, texts: pa.Array) -> Floats:
        """The probability that each text is good, float64 [n]; NaN for one without words."""
        features, ends = features_of(texts)
        scores = np.zeros(len(ends))
        score(features, ends, self.weights, self.bias, scores)
        return scores


def separation(scores: Floats, good: Flags) -> float:
    """The probability that a good text has the higher score than a bad one (AUC), ties by half; NaN without a pair."""
    there = ~np.isnan(scores)
    scores, good = scores[there], good[there]
    positives = int(good.sum())
    pairs = positives * (len(good) - positives)
    if not pairs:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends: Integers = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[places]
    return float((ranks[good].sum() - positives * (positives + 1) / 2) / pairs)
