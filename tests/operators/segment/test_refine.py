"""Refinement: curves against the definition's matrix, boundaries against Algorithm 1 written out, and invariants."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.segment import refine as module
from operators.segment.refine import curves, refine
from operators.segment.settings import OBJECTIVES

ONE_SIDED = ("modularity", "conductance", "similarity")
SEEDS = st.integers(0, 10**6)


def keys_of(seed: int, count: int, dimension: int = 7) -> np.ndarray:
    """Key vectors of a few events: a common part, a part of the event, noise."""
    generator = np.random.default_rng(seed)
    event = np.cumsum(generator.random(count) < 0.1)
    means = generator.standard_normal((count + 1, dimension)) + generator.standard_normal(dimension)
    return (means[event] + generator.standard_normal((count, dimension))).astype(np.float32)


def gaps_of(seed: int, count: int, share: float) -> np.ndarray:
    return np.random.default_rng(seed + 1).random(count - 1) < share


def places(cuts: np.ndarray) -> list[int]:
    return (np.flatnonzero(cuts) + 1).tolist()


def modularity(a: np.ndarray, t: int) -> float:
    """Equation 3 with its matrix of expected edges, on the usual scale."""
    degrees = a.sum(axis=1)
    surplus = a - np.outer(degrees, degrees) / degrees.sum()
    return float((surplus[:t, :t].sum() + surplus[t:, t:].sum()) / degrees.sum())


def conductance(a: np.ndarray, t: int) -> float:
    return float(a[:t, t:].sum() / min(a[:t].sum(), a[t:].sum()))


def published_conductance(a: np.ndarray, t: int) -> float:
    """As in EM-LLM's code: the volume of a block is what is inside it, that of the others is all the rest."""
    inside = a[:t, :t].sum(), a[t:, t:].sum()
    return float(min(a[:t, t:].sum() / min(volume, a.sum() - volume) for volume in inside))


def similarity(a: np.ndarray, t: int) -> float:
    return float((a[:t, :t].mean() + a[t:, t:].mean()) / 2 / a[:t, t:].mean())


DEFINITIONS = {"modularity": modularity, "conductance": conductance, "similarity": similarity}


def matrix(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return wide @ wide.T


def squared_error(vectors: np.ndarray, boundaries: list[int]) -> float:
    parts = np.split(vectors.astype(np.float64), boundaries)
    return float(sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts))


def algorithm_1(
    vectors: np.ndarray,
    cuts: np.ndarray,
    ends: np.ndarray,
    worth: Callable[[np.ndarray, int], float],
    min_units: int = 1,
    excluded: int = 0,
) -> np.ndarray:
    """The paper's Algorithm 1, candidate by candidate, document by document; ``worth`` is higher for better splits."""
    whole = matrix(vectors)
    refined = ends & cuts
    walls = [0, *places(ends), len(vectors)]
    for low, high in itertools.pairwise(walls):
        previous = low
        for candidate in [place for place in places(cuts) if low < place < high]:
            half = (candidate - previous) // 2
            start, end = max(low, previous - half), min(high, candidate + half)
            splits = range(previous + min_units, candidate - excluded + 1)
            chosen = candidate
            if splits and splits != range(candidate, candidate + 1):
                window = whole[start:end, start:end]
                chosen = max(splits, key=lambda split: worth(window, split - start))
            refined[chosen - 1] = True
            previous = chosen
    return refined


@given(
    SEEDS, st.integers(2, 40), st.sampled_from([1, 7, 128, 130, 1024, 1100]), st.sampled_from(["float32", "float64"])
)
@settings(max_examples=60)
def test_curves_are_their_definition(seed: int, units: int, dimension: int, dtype: str) -> None:
    window = np.abs(keys_of(seed, units, dimension)).astype(dtype)
    a, splits = matrix(window), range(1, units)
    for curve, definition in zip(curves(window), DEFINITIONS.values(), strict=True):
        np.testing.assert_allclose(curve, [definition(a, t) for t in splits], rtol=1e-9, atol=1e-12)
    published = curves(window, "within").conductance
    np.testing.assert_allclose(published, [published_conductance(a, t) for t in splits], rtol=1e-9, atol=1e-12)


@given(SEEDS, st.integers(2, 40))
@settings(max_examples=60)
def test_modularity_of_keys_of_any_sign_is_its_definition(seed: int, units: int) -> None:
    window = keys_of(seed, units)
    a = matrix(window)
    relative = 1e-9 * np.abs(a).sum() / a.sum()  # where signs cancel out, the definition itself has lost these digits
    expected = [modularity(a, t) for t in range(1, units)]
    np.testing.assert_allclose(curves(window).modularity, expected, rtol=relative, atol=relative)


def test_windows_without_a_split_and_without_weight_have_no_curve() -> None:
    assert all(len(curve) == 0 for curve in (*curves(np.ones((1, 3))), *curves(np.ones((0, 3)))))
    assert np.isnan(curves(np.array([[1.0, 2.0], [-1.0, -2.0]]))).all()


@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("objective", ONE_SIDED)
@given(SEEDS, st.integers(2, 60), st.integers(1, 4))
@settings(max_examples=60)
def test_boundaries_are_those_of_algorithm_1(
    objective: str, excluded: bool, seed: int, count: int, min_units: int
) -> None:
    vectors = keys_of(seed, count) + np.float32(1)
    cuts, ends = gaps_of(seed, count, 0.15), gaps_of(seed + 1, count, 0.03)
    sign = -1 if objective == "conductance" else 1
    expected = algorithm_1(
        vectors, cuts, ends, lambda a, t: sign * DEFINITIONS[objective](a, t), min_units, int(excluded)
    )
    refined = refine(vectors, cuts, ends, objective, min_units=min_units, exclude_candidate=excluded)
    assert places(refined) == places(expected)


@given(SEEDS, st.integers(2, 60))
@settings(max_examples=40)
def test_conductance_with_the_published_volume(seed: int, count: int) -> None:
    vectors, cuts = keys_of(seed, count) + np.float32(1), gaps_of(seed, count, 0.15)
    ends = np.zeros(count - 1, bool)
    expected = algorithm_1(vectors, cuts, ends, lambda a, t: -published_conductance(a, t), excluded=1)
    refined = refine(vectors, cuts, ends, "conductance", exclude_candidate=True, volume="within")
    assert places(refined) == places(expected)


def test_without_the_candidate_every_boundary_moves_left() -> None:
    vectors, ends = keys_of(3, 200), np.zeros(199, bool)
    cuts = np.arange(199) % 9 == 8
    moved = np.array(places(cuts)) - places(refine(vectors, cuts, ends, exclude_candidate=True))
    assert (moved >= 1).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_late_candidate_moves_to_where_two_topics_meet(objective: str) -> None:
    vectors = np.repeat(np.eye(2, 4, dtype=np.float32), [20, 30], axis=0)
    cuts, ends = np.zeros(49, bool), np.zeros(49, bool)
    cuts[23] = True
    assert places(refine(vectors, cuts, ends, objective)) == [20]


def test_only_least_squares_moves_to_the_right() -> None:
    vectors = np.repeat(np.eye(3, 4, dtype=np.float32), [20, 30, 10], axis=0)
    cuts, ends = np.zeros(59, bool), np.zeros(59, bool)
    cuts[[15, 51]] = True
    assert places(refine(vectors, cuts, ends, "least_squares")) == [20, 50]
    assert places(refine(vectors, cuts, ends, "modularity"))[0] == 16


@pytest.mark.parametrize("objective", ["modularity", "similarity", "least_squares"])
def test_a_boundary_moves_only_for_a_better_split(objective: str) -> None:
    cuts, ends = np.zeros(15, bool), np.zeros(15, bool)
    cuts[[7, 11]] = True
    assert places(refine(np.ones((16, 4), np.float32), cuts, ends, objective)) == [8, 12]


@pytest.mark.parametrize("objective", ONE_SIDED)
def test_a_window_without_weight_keeps_its_candidate(objective: str) -> None:
    vectors = np.tile(np.array([[1, -2], [-1, 2]], np.float32), (8, 1))
    cuts, ends = np.zeros(15, bool), np.zeros(15, bool)
    cuts[7] = True
    assert places(refine(vectors, cuts, ends, objective)) == [8]


@given(SEEDS, st.integers(1, 80), st.sampled_from(OBJECTIVES), st.integers(1, 5), st.booleans(), st.integers(0, 9))
@settings(max_examples=200)
def test_boundaries_stay_as_many_within_their_documents_and_apart(
    seed: int, count: int, objective: str, min_units: int, excluded: bool, zeros: int
) -> None:
    vectors = keys_of(seed, count, 3)
    vectors[: zeros * 4] = 0
    ends, cuts = gaps_of(seed, count, 0.05), gaps_of(seed + 1, count, 0.2)
    excluded &= objective != "least_squares"
    refined = refine(vectors, cuts, ends, objective, min_units=min_units, exclude_candidate=excluded)
    assert (refined[ends] == cuts[ends]).all()
    walls = [0, *places(ends), count]
    for low, high in itertools.pairwise(walls):
        before = [low, *(place for place in places(cuts) if low < place < high), high]
        after = [low, *(place for place in places(refined) if low < place < high), high]
        assert len(before) == len(after)
        if objective != "least_squares":
            assert all(new <= old for new, old in zip(after, before, strict=True))
        assert all(new >= min(old, min_units) for new, old in zip(np.diff(after), np.diff(before), strict=True))


@given(SEEDS, st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from(OBJECTIVES), st.integers(0, 6))
@settings(max_examples=60)
def test_any_grouping_of_documents_gives_the_same_boundaries(
    seed: int, lengths: list[int], objective: str, at: int
) -> None:
    vectors, cuts = keys_of(seed, sum(lengths)), gaps_of(seed, sum(lengths), 0.2)
    starts = np.cumsum([0, *lengths])
    ends = np.isin(np.arange(1, len(vectors)), starts)
    cuts |= ends

    def refined(first: int, last: int) -> list[int]:
        low, high = starts[first], starts[last]
        if low == high:
            return []
        part = slice(low, high - 1)
        return (np.array(places(refine(vectors[low:high], cuts[part], ends[part], objective)), int) + low).tolist()

    middle = min(at, len(lengths))
    joint = [] if middle in (0, len(lengths)) else [int(starts[middle])]
    assert refined(0, len(lengths)) == refined(0, middle) + joint + refined(middle, len(lengths))


@given(SEEDS, st.integers(2, 60), st.integers(1, 4))
@settings(max_examples=60)
def test_least_squares_never_grows_and_ends_where_no_boundary_gains(seed: int, count: int, min_units: int) -> None:
    vectors, cuts, ends = keys_of(seed, count), gaps_of(seed, count, 0.1), np.zeros(count - 1, bool)
    refined = places(refine(vectors, cuts, ends, "least_squares", min_units=min_units))
    error = squared_error(vectors, refined)
    assert error <= squared_error(vectors, places(cuts)) * (1 + 1e-12)
    for i, place in enumerate(refined):
        low, high = [0, *refined][i] + min_units, [*refined, count][i + 1] - min_units
        if low <= place <= high:
            others = [[*refined[:i], other, *refined[i + 1 :]] for other in range(low, high + 1)]
            assert error <= min(squared_error(vectors, other) for other in others) * (1 + 1e-9)


@given(SEEDS, st.integers(2, 40), st.data())
@settings(max_examples=60)
def test_least_squares_finds_the_best_place_of_a_single_boundary(seed: int, count: int, data: st.DataObject) -> None:
    vectors, cuts, ends = keys_of(seed, count), np.zeros(count - 1, bool), np.zeros(count - 1, bool)
    cuts[data.draw(st.integers(0, count - 2))] = True
    best = min(range(1, count), key=lambda place: squared_error(vectors, [place]))
    assert places(refine(vectors, cuts, ends, "least_squares")) == [best]


def test_boundaries_that_run_away_are_followed_no_further_than_the_reach() -> None:
    """Similarity counts a unit's likeness to itself, so it likes the first blocks of a document to be small."""
    count, every = 3 * module.REACH, 64
    vectors = np.cumsum(np.random.default_rng(0).standard_normal((count, 8), np.float32), axis=0)
    cuts = np.arange(1, count) % every == 0
    before, after = (
        np.array(places(cuts)),
        np.array(places(refine(vectors, cuts, np.zeros(count - 1, bool), "similarity"))),
    )
    assert (before - after).max() > module.REACH / 2
    assert (before[1:] - after[1:] <= np.maximum(module.REACH, np.diff(before))).all()


def test_impossible_arguments_are_refused() -> None:
    vectors, gaps = np.ones((5, 2), np.float32), np.zeros(4, bool)
    with pytest.raises(ValueError, match="choose one of modularity, conductance, similarity, least_squares"):
        refine(vectors, gaps, gaps, "surprise")
    with pytest.raises(ValueError, match="choose one of degree, within"):
        curves(vectors, "inside")
    with pytest.raises(ValueError, match="5 vectors have 4 gaps"):
        refine(vectors, gaps[1:], gaps)
    with pytest.raises(ValueError, match="at least 1"):
        refine(vectors, gaps, gaps, min_units=0)
    with pytest.raises(ValueError, match="leave it out"):
        refine(vectors, gaps, gaps, "least_squares", exclude_candidate=True)
    with pytest.raises(ValueError, match="float32 or float64"):
        refine(vectors.astype(np.float16), gaps, gaps)
