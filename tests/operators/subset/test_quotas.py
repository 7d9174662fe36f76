"""Quotas within their bounds, and farthest points by their definition, in whole numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.subset.select import FEWEST, GRID, farthest, gridded, quotas


@settings(max_examples=300)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=30),
    share=st.floats(0.01, 0.99),
    alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_quotas_add_up_within_their_bounds(sizes, share, alpha):
    counts = quotas(sizes, share, alpha)
    least = np.minimum(sizes, FEWEST)
    assert (counts >= least).all() and (counts <= sizes).all()
    assert counts.sum() == max(math.ceil(share * sum(sizes) - 1e-9), least.sum())
    free = (counts > least) & (counts < np.array(sizes))
    scale = counts[free] / np.array(sizes, float)[free] ** alpha
    if len(scale) > 1:  # one factor for all that no bound holds, but for the rounding of each
        rounding = 1 / np.array(sizes, float)[free] ** alpha
        assert (scale - rounding).max() <= (scale + rounding).min() + 1e-9


def test_the_same_share_of_all_where_alpha_is_one():
    assert quotas([1000, 500, 100], 0.3, 1.0).tolist() == [300, 150, 30]
    assert quotas([1000, 5, 20], 0.3, 1.0).tolist() == [295, 5, 8]
    assert quotas([4, 3], 0.1, 0.5).tolist() == [4, 3]
    first, second = quotas([1000, 10_000], 0.3, 0.5).tolist()
    assert (first, second) == (1000, 2300) or abs(second / first - math.sqrt(10)) < 0.01


def by_definition(points, count):
    """Greedy farthest points in Python's whole numbers."""
    rows = [[int(value) for value in row] for row in points.tolist()]

    def product(one, other):
        return sum(a * b for a, b in zip(one, other, strict=True))

    middle = [int(value) for value in gridded(points.sum(axis=0, keepdims=True))[0]]
    places = [max(range(len(rows)), key=lambda place: (product(rows[place], middle), -place))]
    while len(places) < count:
        left = [place for place in range(len(rows)) if place not in places]
        places.append(min(left, key=lambda place: (max(product(rows[place], rows[one]) for one in places), place)))
    return places


@settings(max_examples=100)
@given(st.integers(1, 14), st.integers(1, 5), st.integers(0, 10_000), st.booleans())
def test_farthest_points_are_those_of_the_definition(rows, dimension, seed, twice):
    draw = np.random.default_rng(seed)
    sums = draw.standard_normal((rows, dimension))
    sums = np.concatenate([sums, sums]) if twice else sums  # equal points: the first is taken
    points = gridded(sums)
    for count in {1, rows // 2 or 1, len(points)}:
        assert farthest(points, count).tolist() == by_definition(points, count)


def test_any_order_of_adding_gives_the_same_points():
    draw = np.random.default_rng(0)
    points = gridded(draw.standard_normal((200, 64)))
    turned = points[:, draw.permutation(64)]
    assert farthest(points, 60).tolist() == farthest(np.ascontiguousarray(turned), 60).tolist()
    assert np.array_equal(points @ points.T, points.astype(np.int64) @ points.astype(np.int64).T)


def test_points_lie_on_a_grid_and_nothing_has_no_direction():
    points = gridded(np.array([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0]]))
    assert points.tolist() == [[round(0.6 * GRID), round(0.8 * GRID)], [0, 0], [GRID, 0]]
    assert Fraction(4096) * GRID * GRID < 2**53
    assert farthest(points, 0).tolist() == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nothing_is_taken_twice(count):
    assert len(set(farthest(np.zeros((3, 2)), count).tolist())) == count
