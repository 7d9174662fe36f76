"""Vectors in memory: what Lance finds without an index, and what the definition says."""

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.index import hold_vectors, search_vector
from mnemic.dataset.index.held_vectors import held_vectors
from mnemic.dataset.write import append, write_rows

WIDTH = 12
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("leaf", pa.bool_(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), WIDTH)),
    ]
)


def table(random, start, count):
    values = random.standard_normal((count, WIDTH)).astype(np.float32)
    values[count // 2 :: 7] = values[0]  # equal vectors
    return pa.table(
        {
            "id": [f"{number:032x}" for number in range(start, start + count)],
            "tenant": random.choice(["north", "south", "east"], count),
            "leaf": random.random(count) < 0.7,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH),
        },
        schema=SCHEMA,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Rows in several fragments, of which some were deleted."""
    random = np.random.default_rng(7)
    dataset = Store(tmp_path_factory.mktemp("vectors"))["events"]
    dataset.create(SCHEMA, {}, {})
    for start, count in ((0, 900), (900, 40), (940, 300)):
        append(dataset, write_rows(dataset.uri, table(random, start, count), SCHEMA), {})
    dataset.delete("id LIKE '%7'")
    return dataset


@pytest.mark.parametrize("where", [None, "leaf", "tenant = 'north'", "leaf AND tenant = 'south'", "id = 'nobody'"])
@pytest.mark.parametrize("k", [1, 25, 2_000])
def test_rows_are_those_that_lance_finds_and_the_nearest_by_definition(dataset, where, k):
    plain, warm = dataset.require(), dataset.require()
    hold_vectors(warm, "vector")
    assert held_vectors(plain, "vector") is None
    random = np.random.default_rng(k)
    rows = plain.table(["id", "vector"], where)
    vectors = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, WIDTH).astype(np.float64)
    for _ in range(4):
        query = random.standard_normal(WIDTH).astype(np.float32)
        in_memory = search_vector(warm, "vector", "id", query, k, where)
        by_lance = search_vector(plain, "vector", "id", query, k, where)
        assert in_memory["id"].to_pylist() == by_lance["id"].to_pylist()
        assert np.allclose(in_memory["_distance"], by_lance["_distance"], atol=1e-6)
        distances = 1 - vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
        order = np.lexsort((rows["id"].to_numpy(), distances.astype(np.float32)))[:k]
        assert in_memory["id"].to_pylist() == rows["id"].take(pa.array(order)).to_pylist()


def test_they_are_held_as_long_as_the_snapshot(dataset):
    from mnemic.dataset.index import held_vectors as module

    snapshot = dataset.require()
    hold_vectors(snapshot, "vector")
    first = held_vectors(snapshot, "vector")
    hold_vectors(snapshot, "vector")
    assert held_vectors(snapshot, "vector") is first and len(module._held) >= 1
    before = len(module._held)
    del snapshot, first
    assert len(module._held) == before - 1
