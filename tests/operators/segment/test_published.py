"""EM-LLM's own code, step by step as it is described, against ours."""

import numpy as np
import pytest

from bench.segment.published import CHUNK, INITIAL, LOCAL, LONGEST, SHORTEST, chunk_cutoffs, published_cuts


def surprise(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=count)


@pytest.mark.parametrize("refined", [True, False])
def test_a_chunk_has_one_cutoff_from_the_tokens_before_it(refined: bool) -> None:
    values = surprise(0, 6000)
    cutoff = chunk_cutoffs(values, 1.5, refined=refined)
    own = values[:CHUNK] if refined else values[:INITIAL]
    assert set(cutoff[:CHUNK]) == {own.mean() + 1.5 * own.std(ddof=1)}
    for chunk in (1, 4, 10, 11):
        start = chunk * CHUNK
        before = [values[i] for i in range(start) if i >= INITIAL and i >= start + CHUNK - LOCAL]
        expected = np.mean(before) + 1.5 * np.std(before, ddof=1)
        np.testing.assert_allclose(cutoff[start : start + CHUNK], expected)
    assert len([i for i in range(10 * CHUNK) if i >= 11 * CHUNK - LOCAL]) == LOCAL - CHUNK


def test_the_surprising_token_is_the_second_of_its_event() -> None:
    values = np.ones(60)
    values[30] = 40.0
    assert np.flatnonzero(published_cuts(values)).tolist() == [28]
    assert np.flatnonzero(published_cuts(values, early=False)).tolist() == [29]


def test_lengths_are_between_eight_and_128_tokens() -> None:
    cuts = published_cuts(surprise(1, 3000), deviations=0.5)
    lengths = np.diff([0, *(np.flatnonzero(cuts) + 1), 3000])[:-1]
    assert lengths.min() >= SHORTEST and lengths.max() <= LONGEST
    quiet = published_cuts(np.ones(400))
    assert np.flatnonzero(quiet).tolist() == [127, 255, 383]


def test_refinement_moves_every_boundary_to_the_left() -> None:
    generator = np.random.default_rng(2)
    values = np.ones(64)
    values[[20, 44]] = 30.0
    keys = np.abs(generator.standard_normal((64, 16))).astype(np.float32)
    moved = np.flatnonzero(published_cuts(values, keys))
    assert len(moved) == 2 and moved[0] < 18 and moved[1] < 42
