"""Valleys of similarity against their definition, and their voice in the posterior."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.segment.cost import costs
from operators.segment.posterior import CONSTANTS, TYPICAL_DEPTH, WIDEST, at_its_own_granularity, at_penalty, half_event
from operators.segment.similarity import depth, gap_similarity
from operators.segment.valleys import Valleys


def unit_vectors(seed: int, count: int, width: int = 7) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 70))
@settings(max_examples=40)
def test_depths_of_a_window_are_those_of_texttiling(seed: int, count: int, window: int) -> None:
    vectors, ends = unit_vectors(seed, count), np.zeros(count - 1, bool)
    expected = depth(gap_similarity(vectors, ends, window), ends)
    np.testing.assert_allclose(Valleys(vectors)(window), expected, atol=1e-5)


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(max_examples=20)
def test_the_windows_asked_for_before_change_nothing(seed: int, count: int) -> None:
    vectors = unit_vectors(seed, count)
    several = Valleys(vectors)
    for window in (9, 2, 5, 9):
        assert several(window).tobytes() == Valleys(vectors)(window).tobytes()


@given(st.integers(0, 10**6), st.integers(2, 40), st.floats(0.01, 100.0))
@settings(max_examples=20)
def test_the_length_of_vectors_does_not_count(seed: int, count: int, length: float) -> None:
    vectors = unit_vectors(seed, count)
    np.testing.assert_allclose(Valleys(vectors * np.float32(length))(3), Valleys(vectors)(3), atol=1e-5)


def test_a_side_without_direction_has_similarity_zero() -> None:
    vectors = np.zeros((6, 4), np.float32)
    vectors[:2, 0] = vectors[4:, 1] = 1.0
    assert Valleys(vectors)(1).tolist() == [0.0, 2.0, 2.0, 2.0, 0.0]


@given(st.integers(0, 10**6), st.integers(4, 40), st.floats(0.1, 1.5))
@settings(max_examples=30)
def test_a_deeper_valley_is_a_likelier_boundary(seed: int, count: int, penalty: float) -> None:
    table = costs(unit_vectors(seed, count), np.ones(count), 64)
    depths = np.full(count - 1, TYPICAL_DEPTH)
    gap = seed % (count - 1)
    before = at_penalty(table, penalty, depths).probability[gap]
    depths[gap] += 0.5
    after = at_penalty(table, penalty, depths).probability[gap]
    odds = before / (1.0 - before) * np.exp(0.5 * CONSTANTS.valley * CONSTANTS.sharpness)
    assert after == pytest.approx(odds / (1.0 + odds), rel=1e-3, abs=1e-6)


def test_the_window_is_half_the_event_that_costs_expect() -> None:
    vectors = np.repeat(unit_vectors(1, 5, 64), 24, axis=0) + 0.02 * unit_vectors(2, 120, 64)
    windows: list[int] = []

    def depths(window: int) -> np.ndarray:
        windows.append(window)
        return Valleys(vectors)(window)

    segmented = at_its_own_granularity(costs(vectors, np.ones(120), 128), depths)
    assert int(segmented.cuts.sum()) == 4 and half_event(120, 5) in windows and max(windows) <= WIDEST


@pytest.mark.parametrize("seed", range(3))
def test_short_runs_of_other_texts_are_cut_by_their_valleys(seed: int) -> None:
    """Runs of four noisy units, whose means are too uncertain for least squares alone."""
    generator = np.random.default_rng(seed)
    topics = generator.standard_normal((40, 64))
    vectors = (np.repeat(topics, 4, axis=0) + 1.5 * generator.standard_normal((160, 64))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    true = np.arange(1, 160) % 4 == 0
    table = costs(vectors, np.ones(160), 128)
    with_valleys = at_its_own_granularity(table, Valleys(vectors)).cuts
    without = at_its_own_granularity(table, lambda window: np.full(159, TYPICAL_DEPTH)).cuts
    assert (with_valleys & true).sum() >= 30 and (with_valleys & ~true).sum() <= 3
    assert (without & true).sum() <= 10
