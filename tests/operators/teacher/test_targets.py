"""A stored distribution is what it was, but for steps of a sixteenth in the logarithm."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.teacher.distribution import Distribution
from operators.teacher.targets import ZERO, probabilities, target_columns, target_fields


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(0, 70), st.floats(0.1, 12.0))
def test_probabilities_come_back_within_a_step(seed: int, support: int, filled: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    filled = min(filled, support)
    probs = np.zeros((3, support), np.float32)
    shares = np.sort(np.exp(random.normal(0.0, spread, (3, filled))))[:, ::-1]
    probs[:, :filled] = shares / np.maximum(shares.sum(1, keepdims=True), 1e-30)
    ids = np.full((3, support), -1, np.int32)
    ids[:, :filled] = [random.permutation(60_000)[:filled] for _ in range(3)]
    targets = Distribution(ids, probs, np.full(3, 0.25, np.float32), np.full(3, 1e-9, np.float32))
    columns = target_columns(targets, pa.uint16())
    assert [column.type for column in columns] == [field.type for field in target_fields(pa.uint16(), support)]
    codes = columns[1].flatten().to_numpy().reshape(3, support)
    restored = probabilities(codes)
    present = codes < ZERO
    assert (columns[0].flatten().to_numpy().reshape(3, support)[present] == ids[present]).all()
    assert (probs[~present] < 1.3e-7).all() and (restored[~present] == 0).all()
    np.testing.assert_allclose(restored[present], probs[present], rtol=0.07)
    if filled:
        np.testing.assert_allclose(restored.sum(1), 1.0, atol=1e-5)
    divergence = (probs[present] * np.log(probs[present] / restored[present])).sum() / 3
    assert abs(divergence) < 2e-3
    assert columns[2].to_pylist() == [0.25] * 3 and columns[3].to_numpy().tolist() == targets.label.tolist()
