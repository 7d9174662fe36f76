"""Events that say the same: the definition by brute force, in any order, and never across clusters or tenants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from operators.deduplicate import semantic
from operators.deduplicate.semantic import Semantic, same_as


class Events:
    def __init__(self, table: pa.Table) -> None:
        self.table = table.sort_by("id")

    def __len__(self) -> int:
        return len(self.table)

    def batches(self, columns: Sequence[str], size: int = 8192) -> Iterator[pa.RecordBatch]:
        yield from self.table.select(list(columns)).combine_chunks().to_batches(size)

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns)).take(pa.array(positions, pa.int64()))


def events(seed: int, count: int = 60) -> pa.Table:
    """Vectors around a few directions, in three clusters."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(8, 6))
    vectors = centres[generator.integers(0, 8, count)] + generator.normal(scale=0.15, size=(count, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return pa.table(
        {
            "id": [f"{number:03d}" for number in generator.permutation(count)],
            "tenant": [str(number) for number in generator.integers(0, 2, count)],
            "cluster": [str(number) for number in generator.integers(0, 3, count)],
            "words": generator.integers(1, 5, count),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 6),
        }
    )


def brute_force(table: pa.Table, threshold: float) -> set[str]:
    fallen: set[str] = set()
    rows = sorted(table.to_pylist(), key=lambda row: (-row["words"], row["id"]))
    standing: list[dict] = []
    for row in rows:
        if any(
            (other["tenant"], other["cluster"]) == (row["tenant"], row["cluster"])
            and round(float(np.dot(np.float64(other["vector"]), np.float64(row["vector"]))), 6) >= threshold
            for other in standing
        ):
            fallen.add(row["id"])
        else:
            standing.append(row)
    return fallen


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.8, 0.95, 0.99]), st.integers(1, 70))
def test_the_definition_in_any_blocks_and_order(seed: int, threshold: float, block: int) -> None:
    table = events(seed)
    shuffled = table.take(pa.array(np.random.default_rng(seed + 1).permutation(len(table))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic, "_BLOCK", block)
        fitted = Semantic(threshold).fit(Events(shuffled), "cpu", lambda done, total: None)
    same_as = fitted(pa.record_batch({"id": table["id"].combine_chunks()}))["same_as"].to_pylist()
    clusters = dict(zip(table["id"].to_pylist(), table["cluster"].to_pylist(), strict=True))
    fallen = {name: keeper for name, keeper in zip(table["id"].to_pylist(), same_as, strict=True) if keeper}
    assert fallen.keys() == brute_force(table, threshold)
    assert all(clusters[name] == clusters[keeper] and keeper not in fallen for name, keeper in fallen.items())
    assert fitted.summary == {"events": 60, "same": len(fallen)}


def test_the_nearest_kept_one_is_named() -> None:
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], np.float32)
    assert same_as(vectors, 0.6).tolist() == [-1, -1, 1, 1]
    assert same_as(vectors, 1.0).tolist() == [-1, -1, -1, 1]
    assert same_as(np.empty((0, 2), np.float32), 0.5).tolist() == []


def test_impossible_thresholds_are_refused() -> None:
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(RecipeError, match=r"such as 0\.95"):
            Semantic(threshold)
