"""Mixing a language model with memories, token by token: the loss, and the weights that are best on held-out text.

kNN-LM (arXiv 1911.00172, equation 3) mixes probabilities, p = (1 - w) p_LM + w p_memory, in logarithms here. The loss
is convex in the weights, so a grid finds the best of one memory and expectation maximisation that of several. Both use
the log-probability of the true token alone: no model runs. Everything is float64, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnemic.errors import StepError

GRID: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(20))
"""Mixing weights tried by `best_weight`: 0, 0.05, ... 0.95."""

WEIGHT_WITHOUT_VALIDATION = 0.25
"""The mixing weight of kNN-LM in its own domain (Khandelwal et al. 2020), where no held-out text can choose one."""

NOTHING = 1e-38
"""Probability of a token that no neighbour has; its logarithm is finite, which keeps the mixture's arithmetic plain."""

_ROUNDS = 2000
_SETTLED = 1e-7  # change of a weight in a round of `best_shares`
_NEGLIGIBLE = 1e-4  # a share below it is none: the memory need not be computed


def mixture_nll(base_logprob: ArrayLike, memory_logprob: ArrayLike, weight: float) -> NDArray[np.float64]:
    """Negative log-probability of each token under the mixture; float64 [n].

    Both inputs are natural-log probabilities of the true token, [n]; -inf means that the memory cannot give the token.
    Weight 0 returns the base exactly, weight 1 the memory.
    """
    if not 0.0 <= weight <= 1.0:
        raise StepError(f"A mixing weight lies between 0 and 1, got {weight}; choose it with best_weight().")
    base = np.asarray(base_logprob, dtype=np.float64)
    memory = np.asarray(memory_logprob, dtype=np.float64)
    if weight == 0.0:
        return -base
    if weight == 1.0:
        return -memory
    mixed: NDArray[np.float64] = -np.logaddexp(np.log1p(-weight) + base, np.log(weight) + memory)
    return mixed


def shares_nll(log_probs: Sequence[ArrayLike], shares: Sequence[float]) -> NDArray[np.float64]:
    """Negative log-probability of each token, float64 [n], under any number of ``log_probs`` [n] with their ``shares``.

    A share of 0 leaves its log-probabilities out.
    """
    columns = np.stack([np.asarray(one, dtype=np.float64) for one in log_probs])
    with np.errstate(divide="ignore"):
        mixed: NDArray[np.float64] = -np.logaddexp.reduce(columns + np.log(shares)[:, None], axis=0)
    return mixed


def perplexity(nll: ArrayLike) -> float:
    """exp of the mean of ``nll``, [n] in nats; not a number for no token."""
    losses = np.asarray(nll, dtype=np.float64)
    return float(np.exp(losses.mean())) if losses.size else float("nan")


def best_weight(
    base_logprob: ArrayLike, memory_logprob: ArrayLike, grid: Sequence[float] = GRID
) -> tuple[float, float]:
    """(weight, perplexity) of the best weight of ``grid``, for log-probabilities [n]; the smallest of equals."""
    scores = [(perplexity(mixture_nll(base_logprob, memory_logprob, weight)), weight) for weight in sorted(grid)]
    score, weight = min(scores)
    return weight, score


def best_shares(base_logprob: ArrayLike, memory_logprobs: Sequence[ArrayLike]) -> tuple[list[float], float]:
    """(weight of each memory, perplexity) of the mixture of the base with all of them, by expectation maximisation.

    Inputs are log-probabilities of the true tokens, [n] each, as for `mixture_nll`. The weights sum to at most 1; the
    rest is the base's. The loss is convex in them, so the fixed point is the best mixture.
    """
    columns = [np.asarray(one, dtype=np.float64) for one in (base_logprob, *memory_logprobs)]
    if not columns[0].size or any(one.shape != columns[0].shape for one in columns):
        raise StepError(
            "best_shares() takes the log-probabilities of the same tokens by each, of one length, not none."
        )
    logs = np.stack(columns, axis=1)
    largest = logs.max(axis=1, keepdims=True)
    likelihood = np.exp(logs - largest)
    shares = np.full(logs.shape[1], 1.0 / logs.shape[1])
    for _ in range(_ROUNDS):
        before, mixed = shares, likelihood @ shares
        shares = shares * (likelihood / mixed[:, None]).mean(axis=0)
        if np.abs(shares - before).max() < _SETTLED:
            break
    weights = [0.0 if share < _NEGLIGIBLE else round(float(share), 6) for share in shares[1:]]
    all_weights = np.array([max(0.0, 1.0 - sum(weights)), *weights])
    return weights, perplexity(-(np.log(likelihood @ all_weights) + largest[:, 0]))
