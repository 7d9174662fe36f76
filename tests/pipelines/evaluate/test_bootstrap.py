from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import StepError
from mnemic.mixture import GRID, best_weight, mixture_nll, perplexity
from pipelines.evaluate.bootstrap import bootstrap, mean_interval

LOGPROBS = st.lists(st.tuples(st.floats(-20, -0.01), st.floats(-20, -0.01)), min_size=1, max_size=30)


@settings(max_examples=40)
@given(LOGPROBS, st.sampled_from(GRID[1:]))
def test_mixture_is_the_mixture_of_probabilities(pairs: list[tuple[float, float]], weight: float) -> None:
    base, memory = np.array(pairs).T
    expected = -np.log((1 - weight) * np.exp(base) + weight * np.exp(memory))
    np.testing.assert_allclose(mixture_nll(base, memory, weight), expected, rtol=1e-12)


def test_the_ends_of_the_weight_are_base_and_memory_exactly() -> None:
    base, memory = np.float32([-0.3, -7.1]), np.float32([-2.2, -np.inf])
    assert mixture_nll(base, memory, 0.0).tolist() == (-base.astype(np.float64)).tolist()
    assert mixture_nll(base, memory, 1.0).tolist() == (-memory.astype(np.float64)).tolist()
    assert np.isfinite(mixture_nll(base, memory, 0.95)).all()
    with pytest.raises(StepError, match="between 0 and 1"):
        mixture_nll(base, memory, 1.5)


@settings(max_examples=40)
@given(LOGPROBS)
def test_loss_is_convex_along_the_grid_and_best_weight_finds_its_bottom(pairs: list[tuple[float, float]]) -> None:
    base, memory = np.array(pairs).T
    losses = np.array([mixture_nll(base, memory, weight).mean() for weight in GRID])
    assert (np.diff(losses, 2) >= -1e-9).all()
    weight, score = best_weight(base, memory)
    assert score == pytest.approx(np.exp(losses.min()))
    assert weight == GRID[int(np.argmin(np.exp(losses)))]


def test_a_memory_that_knows_nothing_gets_weight_zero() -> None:
    assert best_weight([-1.0, -2.0], [-np.inf, -np.inf]) == (0.0, pytest.approx(np.exp(1.5)))


def test_perplexity_weighs_tokens_not_batches() -> None:
    assert perplexity(np.log([2.0, 2.0, 2.0, 16.0])) == pytest.approx(2 ** (7 / 4))


def test_bootstrap_covers_the_truth_and_is_wide_when_one_document_decides() -> None:
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(60), 20)
    a = rng.exponential(2.0, size=document.size)
    interval = bootstrap(a, a - 0.1, document)
    assert interval.ratio.low == pytest.approx(np.exp(-0.1)) and interval.ratio.high == pytest.approx(np.exp(-0.1))
    assert interval.difference.high < 0
    assert interval.perplexity.low < interval.perplexity.value < interval.perplexity.high

    lucky = np.where(document == 0, a - 6.0, a + 0.05)
    assert bootstrap(a, lucky, document).ratio.low < 1 < bootstrap(a, lucky, document).ratio.high


def test_bootstrap_resamples_documents_as_brute_force_does() -> None:
    rng = np.random.default_rng(2)
    document = rng.integers(0, 8, size=50)
    a, b = rng.exponential(1.0, 50), rng.exponential(1.1, 50)
    draws = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(document == d) for d in rng.integers(0, 8, size=8)])
        draws.append(np.exp(b[rows].mean()) - np.exp(a[rows].mean()))
    interval = bootstrap(a, b, document, samples=4000)
    np.testing.assert_allclose(
        [interval.difference.low, interval.difference.high], np.quantile(draws, [0.025, 0.975]), atol=0.08
    )
    assert bootstrap(a, b, document) == bootstrap(a, b, document)


def test_bootstrap_refuses_unequal_lengths() -> None:
    with pytest.raises(StepError, match="one length"):
        bootstrap([1.0], [1.0, 2.0], ["a", "b"])


def test_an_interval_holds_the_mean():
    values = np.array([0.0, 1.0, 1.0, 0.5] * 25)
    one = mean_interval(values)
    assert one.value == values.mean() and one.low < one.value < one.high
    assert mean_interval(np.ones(9)).low == mean_interval(np.ones(9)).high == 1.0
