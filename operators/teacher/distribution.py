"""What the neighbours of a token vote for: the sparse distribution that a memory imitates.

kNN-LM (arXiv 1911.00172, equations 2 and 3): p(v) = sum over neighbours whose next token is v of softmax(-d^2 / t). The
heaviest 64 tokens hold about 95 % of the mass. Everything derives from the neighbours, so another temperature or mask
needs no new search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Distribution:
    """Sparse next-token distributions: ids int32 [n, m] padded with -1, probs float32 [n, m], rest and label [n]."""

    ids: NDArray[np.int32]
    probs: NDArray[np.float32]
    rest: NDArray[np.float32]
    label: NDArray[np.float32]


def distribution(
    distances: NDArray[np.float32],
    votes: NDArray[np.int32],
    label: NDArray[np.int32],
    temperature: float,
    support: int,
) -> Distribution:
    """What neighbours at squared ``distances`` [n, k] with next tokens ``votes`` [n, k] say; -1 says nothing.

    A row without neighbours keeps nothing: ids -1, probabilities 0, rest 1.
    """
    rows, k = distances.shape
    if not rows:
        return Distribution(
            np.empty((0, support), np.int32), np.empty((0, support), np.float32), *(np.empty(0, np.float32),) * 2
        )
    known = np.where(votes >= 0, distances.astype(np.float64), np.inf)
    nearest = known.min(1, keepdims=True)
    gap = np.where(np.isfinite(known), known - np.where(np.isfinite(nearest), nearest, 0.0), np.inf)
    weight = np.exp(-gap / temperature)
    weight /= np.maximum(weight.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    truth = (weight * (votes == label[:, None])).sum(1)

    order = np.argsort(votes, axis=1, kind="stable")
    token, mass = np.take_along_axis(votes, order, 1), np.take_along_axis(weight, order, 1)
    new = np.ones((rows, k), dtype=bool)
    new[:, 1:] = token[:, 1:] != token[:, :-1]
    place = np.flatnonzero(new)
    row, slot = place // k, (np.cumsum(new, axis=1) - 1).reshape(-1)[place]
    probs = np.zeros((rows, max(k, support)))
    ids = np.full((rows, max(k, support)), -1, dtype=np.int32)
    probs[row, slot] = np.add.reduceat(mass.reshape(-1), place)
    ids[row, slot] = token.reshape(-1)[place]

    # Slots ascend by token, so a stable sort breaks ties by token id.
    heaviest = np.argsort(-probs, axis=1, kind="stable")[:, :support]
    probs, ids = np.take_along_axis(probs, heaviest, 1), np.take_along_axis(ids, heaviest, 1)
    kept = probs.sum(1, keepdims=True)
    shares = (probs / np.maximum(kept, np.finfo(np.float64).tiny)).astype(np.float32)
    return Distribution(
        np.where(shares > 0, ids, -1).astype(np.int32),
        shares,
        np.clip(1.0 - kept[:, 0], 0.0, 1.0).astype(np.float32),
        truth.astype(np.float32),
    )
