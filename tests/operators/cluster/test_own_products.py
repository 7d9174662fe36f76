"""Products of rows with the centroids of their node, and the nearest of them, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.cluster.nearest import best_of
from operators.cluster.own_products import own_products


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 5), st.integers(1, 19), st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_products_are_those_of_float64(seed: int, rows: int, nodes: int, children: int, length: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows + 3, length)).astype(np.float32)
    centroids = random.standard_normal((nodes, children, length)).astype(np.float32)
    place, node = random.permutation(rows + 3)[:rows], np.sort(random.integers(0, nodes, rows))
    products = np.full((rows, children), np.nan, np.float32)
    own_products(vectors, place, node, centroids, products)
    exact = -2 * np.einsum("nd,nkd->nk", vectors[place].astype(np.float64), centroids[node].astype(np.float64))
    assert products == pytest.approx(exact, rel=1e-5, abs=1e-4)


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.0, 0.25, 1.0]))
@settings(max_examples=60, deadline=None)
def test_the_nearest_is_the_first_of_the_least(seed: int, children: int, wrong: float) -> None:
    """Distances are few whole numbers, so many are equal; some children are missing."""
    random = np.random.default_rng(seed)
    products = random.integers(-4, 4, (30, children)).astype(np.float32)
    squares = random.choice(np.array([0, 1, 2, np.inf], np.float32), (3, children))
    squares[:, random.integers(0, children)] = 1
    node = random.integers(0, 3, 30)
    choice, near = np.full(30, -1), np.zeros(30, np.bool_)
    best_of(products, squares, node, wrong, choice, near)
    distances = products + squares[node]
    assert choice.tolist() == distances.argmin(axis=1).tolist()
    assert near.tolist() == ((distances <= distances.min(axis=1, keepdims=True) + wrong).sum(axis=1) > 1).tolist()
