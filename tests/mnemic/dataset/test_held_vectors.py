"""Vectors in memory: what Lance finds without an index, and what the definition says."""

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.index import hold_vectors, search_among, search_vector, vectors_of
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


def test_vectors_of_rows_are_the_same_bits_from_memory_and_from_files(dataset):
    plain, warm = dataset.require(), dataset.require()
    hold_vectors(warm, "vector")
    numbers = plain.native.scanner(columns=["id"], with_row_id=True).to_table()["_rowid"].to_numpy()
    some = np.sort(np.random.default_rng(1).permutation(numbers)[:200])
    assert np.array_equal(vectors_of(warm, "vector", some), vectors_of(plain, "vector", some))
    assert vectors_of(warm, "vector", some[:0]).shape == vectors_of(plain, "vector", some[:0]).shape == (0, WIDTH)


@pytest.mark.parametrize("k", [1, 30, 2_000])
def test_the_nearest_among_some_rows_are_those_of_a_search_with_their_condition(dataset, k):
    plain, warm = dataset.require(), dataset.require()
    hold_vectors(warm, "vector")
    random = np.random.default_rng(k)
    for where in ("tenant = 'north'", "tenant <> 'north' AND leaf", "id = 'nobody'"):
        rows = plain.native.scanner(columns=["id"], filter=where, with_row_id=True).to_table()["_rowid"].to_numpy()
        query = random.standard_normal(WIDTH).astype(np.float32)
        by_lance = search_vector(plain, "vector", "id", query, k, where)
        for snapshot in (plain, warm):
            among = search_among(snapshot, "vector", "id", query, k, random.permutation(rows))
            assert among.schema == by_lance.schema and among["id"].to_pylist() == by_lance["id"].to_pylist()
            assert np.allclose(among["_distance"], by_lance["_distance"], atol=1e-6)


def test_rows_without_a_vector_are_not_among_the_nearest(tmp_path):
    dataset = Store(tmp_path)["events"]
    dataset.create(SCHEMA, {}, {})
    rows = table(np.random.default_rng(2), 0, 6)
    some = pa.array([None, *rows["vector"].to_pylist()[1:]], SCHEMA.field("vector").type)
    append(dataset, write_rows(dataset.uri, rows.set_column(3, SCHEMA.field("vector"), some), SCHEMA), {})
    query = np.ones(WIDTH, np.float32)
    for snapshot in (dataset.require(), dataset.require()):
        numbers = snapshot.native.scanner(columns=["id"], with_row_id=True).to_table()["_rowid"].to_numpy()
        among = search_among(snapshot, "vector", "id", query, 10, numbers)
        assert among["id"].to_pylist() == search_vector(snapshot, "vector", "id", query, 10, None)["id"].to_pylist()
        assert len(among) == 5
        hold_vectors(snapshot, "vector")
        assert search_among(snapshot, "vector", "id", query, 10, numbers).equals(among)
