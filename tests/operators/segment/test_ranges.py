"""Means, nearest units and most attended tokens against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.segment.published import most_attended, most_of_each
from mnemic.errors import StepError
from operators.segment.ranges import mean_vectors, nearest_units


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 11), st.integers(1, 5))
@settings(max_examples=40)
def test_means_and_nearest_units_of_any_ranges(seed: int, count: int, width: int, most: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((count, width)).astype(np.float32)
    firsts = generator.integers(0, count, 6)
    ends = np.minimum(firsts + generator.integers(1, 9, 6), count)
    means = mean_vectors(vectors, firsts, ends)
    chosen = [row[row >= 0] for row in nearest_units(vectors, means, firsts, ends, most)]
    for place, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        mean = vectors[first:end].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(means[place], mean / np.linalg.norm(mean), atol=1e-5)
        near = vectors[first:end].astype(np.float64) @ means[place].astype(np.float64)
        nearest = np.sort(near)[::-1][:most]
        np.testing.assert_allclose(near[chosen[place] - first], nearest, atol=1e-6)


def test_of_equal_units_the_first_stand_for_the_event() -> None:
    vectors = np.ones((5, 3), np.float32)
    firsts, ends = np.array([0, 3]), np.array([3, 5])
    chosen = nearest_units(vectors, mean_vectors(vectors, firsts, ends), firsts, ends, 2)
    assert chosen.tolist() == [[0, 1], [3, 4]]


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 9))
@settings(max_examples=30)
def test_attention_received_is_that_of_the_whole_matrix(seed: int, count: int, window: int, block: int) -> None:
    generator = np.random.default_rng(seed)
    queries, keys = generator.standard_normal((2, count, 8))
    scores = queries @ keys.T / np.sqrt(8)
    apart = np.arange(count)[:, None] - np.arange(count)[None, :]
    weights = np.where((apart >= 0) & (apart < window), np.exp(scores), 0.0)
    expected = (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)
    np.testing.assert_allclose(most_attended(queries, keys, window, block), expected, rtol=1e-9)


def test_the_most_of_each_range() -> None:
    values = np.array([1.0, 5.0, 5.0, 0.0, 7.0])
    places = most_of_each(values, np.array([0, 3]), np.array([3, 5]), 2)
    assert [row.tolist() for row in places] == [[1, 2], [4, 3]]


def test_vectors_that_are_no_numbers_are_told():
    with pytest.raises(StepError, match="vectors that are no numbers"):
        mean_vectors(np.array([[1, 0], [np.nan, 0]], np.float32), np.array([0]), np.array([2]))
