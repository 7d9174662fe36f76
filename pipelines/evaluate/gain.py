"""How much of a retriever's gain a memory has, and on which tokens.

MLP Memory (arXiv 2508.01832) recovers 85 % of what kNN-LM gains in perplexity on WikiText-103 (9.58 where kNN-LM has
9.43, from 10.42). Here the share is of the gain in log-likelihood, (base - memory) / (base - retriever), so that it
does not depend on where the base stands, and its interval resamples documents, with both gains of the same draw. Memory
pays for rare tokens, so losses are also given by how often the store has a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.evaluate.bootstrap import Interval, document_sums

FREQUENCIES = (0, 1, 10, 100, 1000)
"""A bucket holds the tokens that the store has so many times, and fewer than the next one says."""


def recovered(
    base: ArrayLike, retriever: ArrayLike, memory: ArrayLike, document: ArrayLike, samples: int = 1000, seed: int = 0
) -> Interval:
    """The share of the retriever's gain that ``memory`` has; losses of the same tokens in nats, [n].

    Infinite where the retriever gains nothing, and so is the upper end of an interval where that happens in more than
    2.5 % of the draws: then no share is sure.
    """
    sums, draws = document_sums(document, samples, seed, base, retriever, memory)

    def share(total: NDArray[np.float64]) -> NDArray[np.float64]:
        gain = total[..., 0] - total[..., 1]
        return np.where(gain > 0, (total[..., 0] - total[..., 2]) / np.where(gain > 0, gain, 1.0), np.inf)

    low, high = np.quantile(share(draws @ sums), [0.025, 0.975], method="nearest")
    return Interval(float(share(sums.sum(0))), float(low), float(high))


@dataclass(frozen=True)
class Bucket:
    """Tokens that the store has from ``least`` times on; ``losses`` are means in nats a token, by name."""

    least: int
    tokens: int
    losses: dict[str, float]


def by_frequency(token: NDArray[np.int32], stored: NDArray[np.int32], losses: Mapping[str, ArrayLike]) -> list[Bucket]:
    """Losses [n] of held-out tokens ``token`` [n], by how often each is among ``stored``, the store's tokens."""
    size = int(max(token.max(initial=0), stored.max(initial=0))) + 1
    bucket = np.searchsorted(FREQUENCIES, np.bincount(stored, minlength=size)[token], side="right") - 1
    count = np.bincount(bucket, minlength=len(FREQUENCIES))
    means = {}
    for name, loss in losses.items():
        total = np.bincount(bucket, np.asarray(loss, np.float64), len(FREQUENCIES))
        means[name] = total / np.maximum(count, 1)
    return [
        Bucket(least, int(count[at]), {name: float(mean[at]) for name, mean in means.items()})
        for at, least in enumerate(FREQUENCIES)
        if count[at]
    ]
