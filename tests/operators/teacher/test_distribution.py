"""The distribution of the neighbours is the dense scatter of their weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.teacher.distribution import distribution


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 60), st.integers(1, 12))
def test_distribution_is_the_dense_scatter(seed: int, k: int, support: int, vocabulary: int) -> None:
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.exponential(3.0, size=(9, k)), axis=1).astype(np.float32)
    votes = rng.integers(-1, vocabulary, size=(9, k)).astype(np.int32)
    label = rng.integers(0, vocabulary, size=9).astype(np.int32)
    targets = distribution(distances, votes, label, 2.0, support)
    for i in range(9):
        present = votes[i] >= 0
        dense = np.bincount(votes[i][present], np.exp(-distances[i][present].astype(np.float64) / 2.0), vocabulary)
        dense = dense / (dense.sum() or 1.0)
        order = np.lexsort((np.arange(vocabulary), -dense))[:support]
        order = order[dense[order] > 0]
        assert targets.ids[i][: len(order)].tolist() == order.tolist()
        assert (targets.ids[i][len(order) :] == -1).all() and (targets.probs[i][len(order) :] == 0).all()
        mass = dense[order].sum()
        np.testing.assert_allclose(targets.probs[i][: len(order)], dense[order] / (mass or 1), rtol=2e-3, atol=1e-6)
        assert targets.rest[i] == pytest.approx(1 - mass, abs=1e-6)
        assert targets.label[i] == pytest.approx(dense[label[i]], abs=1e-6)
