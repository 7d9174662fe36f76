"""Costs, dynamic programming, bisection and the posterior against all segmentations there are."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.segment.agreement import pk
from operators.segment.changepoint import penalised, possible_shortest, with_count
from operators.segment.cost import cost_blocks, costs
from operators.segment.divisive import cuts_of, divisions
from operators.segment.posterior import CONSTANTS, TYPICAL_DEPTH, at_its_own_granularity, at_penalty, near_length
from operators.segment.valleys import Valleys


def text(seed: int, count: int, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), generator.uniform(0.2, 3.0, count)


def cost_by_definition(vectors: np.ndarray, weights: np.ndarray) -> float:
    mean = np.average(vectors.astype(np.float64), axis=0, weights=weights)
    return float((weights * ((vectors - mean) ** 2).sum(axis=1)).sum())


def all_segmentations(count: int, shortest: int, longest: int) -> list[tuple[int, ...]]:
    """Bounds (0, ..., count) of every segmentation with lengths in range."""
    segmentations = []
    for size in range(count):
        for inner in itertools.combinations(range(1, count), size):
            bounds = (0, *inner, count)
            if all(shortest <= b - a <= longest for a, b in itertools.pairwise(bounds)):
                segmentations.append(bounds)
    return segmentations


def total(vectors: np.ndarray, weights: np.ndarray, bounds: tuple[int, ...]) -> float:
    return sum(cost_by_definition(vectors[a:b], weights[a:b]) for a, b in itertools.pairwise(bounds))


def bounds_of(cuts: np.ndarray) -> tuple[int, ...]:
    return (0, *(np.flatnonzero(cuts) + 1).tolist(), len(cuts) + 1)


@given(st.integers(0, 10**6), st.integers(1, 150), st.integers(1, 90))
@settings(max_examples=25)
def test_costs_are_squared_distances_to_weighted_means(seed: int, count: int, longest: int) -> None:
    vectors, weights = text(seed, count)
    table = costs(vectors, weights, longest)
    assert table.shape == (count, min(count, longest))
    generator = np.random.default_rng(seed)
    for end in generator.integers(1, count + 1, 20).tolist():
        for length in generator.integers(1, table.shape[1] + 1, 5).tolist():
            if length > end:
                assert table[end - 1, length - 1] == np.inf
            else:
                expected = cost_by_definition(vectors[end - length : end], weights[end - length : end])
                assert table[end - 1, length - 1] == pytest.approx(expected, abs=2e-5)


@given(st.integers(0, 10**6), st.integers(1, 10), st.integers(1, 3), st.integers(3, 10), st.floats(0.05, 2.0))
@settings(max_examples=60)
def test_dynamic_programming_finds_what_trying_all_finds(
    seed: int, count: int, shortest: int, longest: int, penalty: float
) -> None:
    vectors, weights = text(seed, count)
    possible = all_segmentations(count, shortest, longest)
    if not possible:
        return
    cuts = penalised(cost_blocks(vectors, weights, longest), count, penalty, shortest)
    assert bounds_of(cuts) in possible
    least = min(total(vectors, weights, bounds) + penalty * (len(bounds) - 1) for bounds in possible)
    cost = total(vectors, weights, bounds_of(cuts)) + penalty * (int(cuts.sum()) + 1)
    assert cost == pytest.approx(least, abs=1e-4)
    table = costs(vectors, weights, longest)
    for segments in {len(bounds) - 1 for bounds in possible}:
        cuts = with_count(table, segments, shortest)
        assert bounds_of(cuts) in possible and cuts.sum() == segments - 1
        least = min(total(vectors, weights, bounds) for bounds in possible if len(bounds) - 1 == segments)
        assert total(vectors, weights, bounds_of(cuts)) == pytest.approx(least, abs=1e-4)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 9))
def test_the_shortest_length_gives_way_where_nothing_else_fits(count: int, shortest: int, more: int) -> None:
    longest = shortest + more
    least = possible_shortest(count, shortest, longest)
    fits = [k for k in range(1, count + 1) if k * least <= count <= k * longest]
    assert 1 <= least <= shortest and fits
    if any(k * shortest <= count <= k * longest for k in range(1, count + 1)):
        assert least == shortest


def test_a_number_of_segments_that_cannot_be_is_the_nearest_one() -> None:
    vectors, weights = text(0, 7)
    assert with_count(costs(vectors, weights, 3), 1).sum() == 2
    assert with_count(costs(vectors, weights, 7), 99, 2).sum() == 2


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 2), st.integers(4, 9), st.floats(0.1, 1.5))
@settings(max_examples=30)
def test_the_posterior_is_that_of_all_segmentations(
    seed: int, count: int, shortest: int, longest: int, penalty: float
) -> None:
    vectors, weights = text(seed, count)
    possible = all_segmentations(count, shortest, longest)
    if not possible:
        return
    depths = np.random.default_rng(seed).uniform(0.0, 1.5, count - 1)
    segmented = at_penalty(costs(vectors, weights, longest), penalty, depths, shortest)
    flags = np.array([np.isin(np.arange(1, count), bounds) for bounds in possible])
    saved = CONSTANTS.valley * (flags @ (depths - TYPICAL_DEPTH))
    energies = [
        CONSTANTS.sharpness * (total(vectors, weights, bounds) + penalty * (len(bounds) - 1) - less)
        for bounds, less in zip(possible, saved, strict=True)
    ]
    shares = np.array([math.exp(-energy) for energy in energies])
    shares /= shares.sum()
    np.testing.assert_allclose(segmented.probability, shares @ flags, atol=1e-3)
    assert segmented.segments == pytest.approx(shares @ (flags.sum(axis=1) + 1), abs=1e-2)
    window = max(2, round(count / segmented.segments / 2))
    if count > window:  # of all segmentations the one with the least expected Pk
        risk = [
            sum(share * pk(np.array(mine), theirs, window) for share, theirs in zip(shares, flags, strict=True))
            for mine in flags
        ]
        place = possible.index(bounds_of(segmented.cuts))
        assert risk[place] == pytest.approx(min(risk), abs=1e-3)


def planted(lengths: list[int], seed: int = 0, noise: float = 0.35, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Units around one direction for each segment, and the true cuts."""
    generator = np.random.default_rng(seed)
    topics = generator.standard_normal((len(lengths), width))
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    vectors = np.repeat(topics, lengths, axis=0) + noise * generator.standard_normal((sum(lengths), width)) / 4
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cuts = np.zeros(sum(lengths) - 1, bool)
    cuts[np.cumsum(lengths)[:-1] - 1] = True
    return vectors.astype(np.float32), cuts


@pytest.mark.parametrize("lengths", [[7, 5, 9, 6], [3, 4, 3, 4, 3, 4, 3], [40, 25, 60]])
def test_planted_segments_are_found_without_a_length_and_are_sure(lengths: list[int]) -> None:
    vectors, cuts = planted(lengths)
    segmented = at_its_own_granularity(costs(vectors, np.ones(len(vectors)), 128), Valleys(vectors))
    assert (segmented.cuts == cuts).all()
    assert segmented.probability[cuts].min() > 0.9 and segmented.probability[~cuts].max() < 0.1
    assert segmented.relative_risk < 0.1


def test_a_length_asked_for_is_about_kept() -> None:
    vectors, _ = planted([16] * 8, noise=1.5)
    table = costs(vectors, np.ones(len(vectors)), 128)
    counts = [int(near_length(table, Valleys(vectors), length).cuts.sum()) + 1 for length in (4, 8, 16, 32)]
    assert counts == sorted(counts, reverse=True)
    assert all(
        0.5 <= count * length / len(vectors) <= 1.5 for count, length in zip(counts, (4, 8, 16, 32), strict=True)
    )


def test_noise_is_not_cut() -> None:
    vectors, _ = planted([60])
    assert at_its_own_granularity(costs(vectors, np.ones(60), 64), Valleys(vectors)).cuts.sum() == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_texts_of_hardly_any_units(count: int) -> None:
    vectors, weights = text(1, count)
    table = costs(vectors, weights, 8)
    least = possible_shortest(count, 5, 8)
    depths = Valleys(vectors)
    for segmented in (
        at_its_own_granularity(table, depths),
        near_length(table, depths, 2.0),
        at_its_own_granularity(table, depths, least),
    ):
        assert len(segmented.cuts) == len(segmented.probability) == count - 1


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 4))
@settings(max_examples=30)
def test_bisection_divides_where_the_error_falls_most(seed: int, count: int, shortest: int) -> None:
    vectors, weights = text(seed, count)
    bisection = divisions(vectors, weights, segments=6, shortest=shortest)
    parts = {(0, count)}
    for division in bisection:
        gains = {
            (a, m, b): cost_by_definition(vectors[a:b], weights[a:b])
            - cost_by_definition(vectors[a:m], weights[a:m])
            - cost_by_definition(vectors[m:b], weights[m:b])
            for a, b in parts
            for m in range(a + shortest, b - shortest + 1)
        }
        assert division.gain == pytest.approx(max(gains.values()), abs=1e-5)
        assert gains[division.first, division.middle, division.end] == pytest.approx(division.gain, abs=1e-5)
        parts -= {(division.first, division.end)}
        parts |= {(division.first, division.middle), (division.middle, division.end)}
    assert all(b - a >= min(shortest, count) for a, b in parts)
    fewer = divisions(vectors, weights, segments=3, shortest=shortest)
    assert fewer == bisection[: len(fewer)], "a coarse tree is the top of a fine one"


def test_bisection_stops_at_the_penalty_and_not_before_the_longest() -> None:
    vectors, cuts = planted([7, 5, 9, 6])
    division = divisions(vectors, np.ones(len(vectors)), penalty=1.5)
    cut, gains = cuts_of(division, len(vectors))
    assert (cut == cuts).all() and (gains[cuts] > 1.5).all() and np.isnan(gains[~cuts]).all()
    limited, _ = cuts_of(divisions(vectors, np.ones(len(vectors)), penalty=99.0, longest=10), len(vectors))
    assert np.diff(bounds_of(limited)).max() <= 10
