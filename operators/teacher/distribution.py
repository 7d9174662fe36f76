"""The sparse distribution that the neighbours of a token vote for, and that a memory imitates.

kNN-LM (arXiv 1911.00172, equations 2 and 3): p(v) = sum over neighbours whose next token is v of softmax(-d^2 / t). The
heaviest 64 tokens hold about 95 % of the mass. Everything derives from the neighbours, so another temperature or mask
needs no new search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.compiled import compiled


@dataclass(frozen=True)
class Distribution:
    """Sparse next-token distributions: ``ids`` int32 [n, m] padded with -1, ``probs`` float32 [n, m].

    ``rest`` float32 [n] is the mass of tokens beyond the heaviest, ``label`` float32 [n] the true token's probability.
    """

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
    """The ``support`` heaviest next tokens of neighbours at squared ``distances`` [n, k], whose tokens are ``votes``.

    ``votes`` are int32 [n, k], -1 for a neighbour that does not vote; ``label`` int32 [n] are the true tokens. A row
    without votes has ids -1, probabilities 0 and rest 1.
    """
    rows = len(distances)
    result = Distribution(
        np.full((rows, support), -1, np.int32),
        np.zeros((rows, support), np.float32),
        np.ones(rows, np.float32),
        np.zeros(rows, np.float32),
    )
    _vote(distances, votes, label, temperature, result.ids, result.probs, result.rest, result.label)
    return result


@compiled
def _vote(
    distances: NDArray[np.float32],
    votes: NDArray[np.int32],
    label: NDArray[np.int32],
    temperature: float,
    ids: NDArray[np.int32],
    probs: NDArray[np.float32],
    rest: NDArray[np.float32],
    truth: NDArray[np.float32],
) -> None:
    rows, k = distances.shape
    support = ids.shape[1]
    weight = np.empty(k)
    grouped = np.empty(k, np.int64)
    token = np.empty(k, np.int32)
    mass = np.empty(k)
    for row in range(rows):
        nearest = np.inf
        for j in range(k):
            if votes[row, j] >= 0 and distances[row, j] < nearest:
                nearest = np.float64(distances[row, j])
        if nearest == np.inf:
            continue
        total, voting = 0.0, 0
        for j in range(k):
            if votes[row, j] >= 0:
                weight[j] = math.exp((nearest - np.float64(distances[row, j])) / temperature)
                total += weight[j]
                grouped[voting] = (np.int64(votes[row, j]) << 32) | j
                voting += 1
        grouped[:voting] = np.sort(grouped[:voting])  # by token; of one token the nearest first
        tokens, own = 0, 0.0
        for g in range(voting):
            name, j = np.int32(grouped[g] >> 32), grouped[g] & 0xFFFFFFFF
            if tokens == 0 or token[tokens - 1] != name:
                token[tokens], mass[tokens] = name, 0.0
                tokens += 1
            mass[tokens - 1] += weight[j]
            if name == label[row]:
                own += weight[j]
        heaviest = np.argsort(-mass[:tokens], kind="mergesort")[:support]  # tokens ascend, so equals do too
        heavy = 0.0
        for slot in heaviest:
            heavy += mass[slot]
        for place in range(len(heaviest)):
            share = np.float32(mass[heaviest[place]] / heavy)
            if share > 0:
                ids[row, place], probs[row, place] = token[heaviest[place]], share
        rest[row] = max(0.0, 1.0 - heavy / total)
        truth[row] = own / total
