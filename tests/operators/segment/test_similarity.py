"""Cosine at the gaps and depth against their literal definitions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.segment.similarity import depth, gap_similarity

DIMENSION = 7  # no multiple of a vector register: tails of rows are exercised too


def similarity_by_definition(vectors: np.ndarray, window: int) -> list[float]:
    """Cosine of the means of the units on each side, gap by gap."""
    count = len(vectors)
    similarity = []
    for gap in range(count - 1):
        left = vectors[max(0, gap + 1 - window) : gap + 1].mean(axis=0)
        right = vectors[gap + 1 : gap + 1 + window].mean(axis=0)
        norm = np.linalg.norm(left) * np.linalg.norm(right)
        similarity.append(float(left @ right / norm) if norm else 0.0)
    return similarity


@given(st.integers(0, 10**6), st.lists(st.integers(1, 14), min_size=1, max_size=4), st.integers(1, 5))
@settings(max_examples=60)
def test_similarity_is_its_definition_within_each_document(seed: int, lengths: list[int], window: int) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.integers(-2, 3, (length, DIMENSION)).astype(np.float32) for length in lengths]
    ends = np.zeros(sum(lengths) - 1, bool)
    ends[np.cumsum(lengths)[:-1] - 1] = True
    vectors = np.concatenate(parts)
    similarity = gap_similarity(vectors, ends, window)
    assert np.isnan(similarity[ends]).all() and np.isnan(depth(similarity, ends)[ends]).all()
    start = 0
    for part in parts:
        expected = similarity_by_definition(part.astype(np.float64), window)
        np.testing.assert_allclose(similarity[start : start + len(part) - 1], expected, atol=1e-9)
        start += len(part)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12), min_size=1, max_size=4))
@settings(max_examples=100)
def test_depth_climbs_plateaus_and_stops_at_documents(parts: list[list[float]]) -> None:
    expected: list[float] = []
    values: list[float] = []
    for part in parts:
        for gap, value in enumerate(part):
            left = gap
            while left and part[left - 1] >= part[left]:
                left -= 1
            right = gap
            while right + 1 < len(part) and part[right + 1] >= part[right]:
                right += 1
            expected.append(part[left] + part[right] - 2 * value)
        expected.append(np.nan)
        values += [*part, np.nan]
    similarity = np.array(values[:-1])
    np.testing.assert_array_equal(depth(similarity, np.isnan(similarity)), expected[:-1])
