"""An index follows its rows and its column: appended, replaced and dropped."""

import numpy as np
import pyarrow as pa
import pytest
from indexed_rows import SCHEMA, brute_force, dataset_of, lower_thresholds, queries, table

from mnemic.dataset.growth import add_fields, drop_fields
from mnemic.dataset.index import (
    Write,
    build_indexes,
    built,
    measure_recall,
    needs_indexing,
    plan,
    record_of_index,
    search_text,
    search_vector,
    unindexed_rows,
    write_record,
)
from mnemic.dataset.write import append, write_rows


@pytest.fixture(autouse=True)
def small_thresholds(monkeypatch):
    lower_thresholds(monkeypatch)


@pytest.fixture
def dataset(tmp_path):
    return dataset_of(tmp_path, table(0, 700), table(700, 1400), table(1400, 2000))


def test_appended_rows_are_found_before_and_after_they_are_indexed(dataset):
    build_indexes(dataset)
    append(dataset, write_rows(dataset.uri, table(2000, 2100), SCHEMA), {})
    newest = table(2000, 2100).to_pylist()[42]
    for _ in range(2):
        snapshot = dataset.require()
        near = search_vector(snapshot, "vector", "id", np.array(newest["vector"]), 5, "tenant = 't17'")
        assert near["id"][0].as_py() == newest["id"]
        words = search_text(snapshot, "text", "id", newest["text"], 5, f"id = '{newest['id']}'")
        assert words["id"].to_pylist() == [newest["id"]]
        build_indexes(dataset)
    assert unindexed_rows(dataset.require(), "vector") == unindexed_rows(dataset.require(), "text") == 0
    assert {len(index.segments) for index in built(dataset.require()).values()} == {2}


def test_segments_are_merged_before_they_are_many(dataset):
    build_indexes(dataset)
    for number in range(9):
        append(dataset, write_rows(dataset.uri, table(2000 + 10 * number, 2010 + 10 * number), SCHEMA), {})
        build_indexes(dataset)
        assert max(len(index.segments) for index in built(dataset.require()).values()) <= plan.MOST_SEGMENTS
    index = built(dataset.require())["text"]
    assert index.rows == 2090 and len(index.segments) < 3
    hits = search_text(dataset.require(), "text", "id", "word3 word5 word8", 40, None)
    drop = dataset_of(dataset.uri + "-anew", table(0, 2090))
    build_indexes(drop)
    anew = search_text(drop.require(), "text", "id", "word3 word5 word8", 40, None)
    assert hits["id"].to_pylist() == anew["id"].to_pylist()
    assert np.allclose(hits["_score"].to_numpy(), anew["_score"].to_numpy(), rtol=1e-6)


def test_a_vector_index_is_trained_anew_when_most_rows_are_new(dataset):
    build_indexes(dataset)
    before = built(dataset.require())["vector"]
    append(dataset, write_rows(dataset.uri, table(2000, 4500), SCHEMA), {})
    build_indexes(dataset)
    after = built(dataset.require())["vector"]
    assert len(after.segments) == 1 and after.rows == 4500 and after.segments != before.segments


def test_nothing_is_written_where_nothing_is_to_do(dataset):
    build_indexes(dataset)
    write_record(dataset.require(), "vector", measure_recall(dataset.require(), "vector"))
    version = dataset.require().version
    assert not needs_indexing(dataset.require())
    build_indexes(dataset)
    assert dataset.require().version == version


def test_an_index_never_outlives_its_column(dataset):
    """Vectors of two models must not meet in one index."""
    build_indexes(dataset)
    write_record(dataset.require(), "vector", measure_recall(dataset.require(), "vector"))
    drop_fields(dataset, ["vector"])
    assert "vector" not in built(dataset.require())
    add_fields(dataset, pa.schema([SCHEMA.field("vector")]), {"fingerprint": "another model"})
    assert "vector" not in built(dataset.require()) and record_of_index(dataset.require(), "vector") is None
    assert needs_indexing(dataset.require())


def test_an_index_never_outlives_its_rows(dataset):
    build_indexes(dataset)
    write_record(dataset.require(), "vector", measure_recall(dataset.require(), "vector"))
    dataset.create(SCHEMA, {}, {})
    append(dataset, write_rows(dataset.uri, table(5000, 6500), SCHEMA), {})
    assert built(dataset.require()) == {} and record_of_index(dataset.require(), "vector") is None
    hits = search_vector(dataset.require(), "vector", "id", queries(1)[0], 5, None)
    assert hits["id"].to_pylist() == brute_force(table(5000, 6500), queries(1)[0], 5)[0]


def test_only_columns_that_are_there_are_indexed(tmp_path):
    older = table(0, 300).select(["id", "level", "text", "vector"])
    dataset = dataset_of(tmp_path, older)
    build_indexes(dataset)
    assert set(built(dataset.require())) == {"id", "level", "text"}
    assert not needs_indexing(dataset.require())
    assert len(search_vector(dataset.require(), "vector", "id", queries(1)[0], 5, "level = 'turn'")) == 5


def test_segments_that_were_never_committed_are_removed_as_orphans(dataset):
    work = Write("text", "INVERTED", (0, 1))
    work.run(dataset.require())
    assert built(dataset.require()) == {}
    assert dataset.remove_orphans() > 0
    build_indexes(dataset)
    assert len(search_text(dataset.require(), "text", "id", "word3", 10, None)) == 10
