"""Weights of several memories: at least as good as other shares, and those by which tokens were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from mnemic.errors import StepError
from mnemic.mixture import best_shares, best_weight, mixture_nll, perplexity, shares_nll


def test_shares_are_those_by_which_the_tokens_were_drawn() -> None:
    draw = np.random.default_rng(0)
    true, tokens = np.array([0.5, 0.3, 0.2]), 20_000
    sources = draw.dirichlet(np.full(12, 0.3), size=3)
    tokens_drawn = [draw.choice(12, p=sources[which]) for which in draw.choice(3, p=true, size=tokens)]
    base, *memories = np.log(sources[:, tokens_drawn])
    weights, score = best_shares(base, memories)
    np.testing.assert_allclose(weights, true[1:], atol=0.03)
    expected = -np.log(np.exp(np.stack([base, *memories], 1)) @ np.array([1 - sum(weights), *weights]))
    assert score == pytest.approx(np.exp(expected.mean()))


def test_no_other_shares_are_better() -> None:
    draw = np.random.default_rng(1)
    logs = np.log(draw.beta(0.4, 1.0, size=(3, 500)).clip(1e-9))
    logs[2, ::7] = -np.inf
    weights, score = best_shares(logs[0], logs[1:])
    for _ in range(200):
        share = draw.dirichlet(np.ones(3))
        if share[0] > 0:
            assert score <= np.exp(-np.log(np.exp(logs.T) @ share).mean()) + 1e-6
    assert 0 <= sum(weights) <= 1


def test_of_one_memory_they_are_the_best_weight() -> None:
    draw = np.random.default_rng(2)
    base, memory = np.log(draw.beta(0.5, 1.0, size=(2, 300)).clip(1e-9))
    (weight,), score = best_shares(base, [memory])
    grid, on_grid = best_weight(base, memory)
    assert abs(weight - grid) <= 0.05 and score <= on_grid
    assert score == pytest.approx(perplexity(mixture_nll(base, memory, weight)), rel=1e-6)


def test_the_loss_of_shares_is_that_of_probabilities_and_of_one_memory_that_of_its_weight() -> None:
    draw = np.random.default_rng(3)
    logs, shares = np.log(draw.beta(0.5, 1.0, size=(4, 300)).clip(1e-9)), [0.4, 0.0, 0.35, 0.25]
    logs[2, ::5] = -np.inf
    np.testing.assert_allclose(shares_nll([*logs], shares), -np.log(np.exp(logs.T) @ shares), rtol=1e-12)
    np.testing.assert_allclose(shares_nll(logs[:2], [0.7, 0.3]), mixture_nll(logs[0], logs[1], 0.3), rtol=1e-12)


def test_a_memory_that_says_nothing_has_no_share_and_what_only_the_base_knows_keeps_one() -> None:
    assert best_shares([-1.0, -2.0], [[-np.inf, -np.inf]]) == ([0.0], pytest.approx(np.exp(1.5)))
    base, memory = np.full(50_000, -3.0), np.full(50_000, -0.1)
    memory[7] = -np.inf
    (weight,), score = best_shares(base, [memory])
    assert 0.99 < weight < 1.0 and np.isfinite(score)


def test_scores_of_other_tokens_are_refused() -> None:
    for scores in ([[-1.0]], [[-1.0, -2.0, -3.0]]):
        with pytest.raises(StepError, match="same tokens"):
            best_shares([-1.0, -2.0], scores)
    with pytest.raises(StepError, match="not none"):
        best_shares([], [[]])
