"""Rows are read by their ids in any order, and columns are held where reading them pays."""

import numpy as np
import pyarrow as pa
import pytest
from indexed_rows import SCHEMA, dataset_of, lower_thresholds, table

from mnemic.dataset.index import read_rows, read_wide, rows, rows_of_ids


@pytest.fixture(autouse=True)
def small_thresholds(monkeypatch):
    lower_thresholds(monkeypatch)


@pytest.fixture
def dataset(tmp_path):
    return dataset_of(tmp_path, table(0, 700), table(700, 1400), table(1400, 2000))


@pytest.mark.parametrize("small", [0, 10_000])
def test_rows_are_read_in_the_order_asked_for(dataset, monkeypatch, small):
    monkeypatch.setattr(rows, "SMALL", small)
    dataset.delete("tenant = 't4'")
    snapshot = dataset.require()
    everything = snapshot.native.scanner(columns=["id", "level"], with_row_id=True).to_table()
    chosen = np.random.default_rng(2).permutation(len(everything))[:100]
    expected = everything.take(pa.array(chosen))
    rows_read = read_rows(snapshot, expected["_rowid"].to_numpy(), ["id", "level"])
    assert rows_read.to_pylist() == expected.drop_columns(["_rowid"]).to_pylist()
    assert rows_read.schema == pa.schema([SCHEMA.field("id"), SCHEMA.field("level")])
    with pytest.raises(KeyError):
        read_rows(snapshot, [10**9], ["id"])
    numbers, there = rows_of_ids(snapshot, "id", [*expected["id"].to_pylist(), "nothing"])
    assert there.tolist() == [True] * 100 + [False]
    assert numbers[:-1].tolist() == expected["_rowid"].to_pylist()


def test_columns_are_held_once_reading_rows_has_cost_as_much(dataset, monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(rows, "PATIENCE", 30)
    snapshot = dataset.require()
    cached = rows._held(snapshot)
    assert not cached.worth_loading(["id"], 20)
    assert cached.worth_loading(["id"], 20)
    monkeypatch.setattr(rows, "MOST_ROWS", 10)
    assert not rows._held(dataset.require()).worth_loading(["id"], 10_000)


@pytest.mark.parametrize("most", [0, 120_000, 1 << 25])
def test_texts_and_vectors_are_the_same_rows_held_or_not_and_held_within_bounds(dataset, monkeypatch, most):
    monkeypatch.setattr(rows, "MOST_BYTES", most)
    monkeypatch.setattr(rows, "_AT_ONCE", 64)
    dataset.delete("tenant = 't5'")
    snapshot = dataset.require()
    everything = snapshot.native.scanner(columns=["text", "vector", "id"], with_row_id=True).to_table()
    some = np.sort(np.random.default_rng(3).permutation(everything["_rowid"].to_numpy())[:50])
    expected = everything.take(pa.array(np.searchsorted(everything["_rowid"].to_numpy(), some)))
    for columns in (["text"], ["vector"], ["text", "vector"], ["id", "text"]):
        for _ in range(2):
            assert read_wide(snapshot, some, columns).to_pylist() == expected.select(columns).to_pylist()
        assert read_wide(snapshot, some[:0], columns).num_rows == 0
    cached = rows._held(snapshot)
    assert all(column.nbytes <= most for column in cached._columns.values())
    assert ("text" in cached._columns) == (most > 0) and ("vector" in cached._columns) == (most > 120_000)
    with pytest.raises(KeyError):
        read_wide(snapshot, np.array([10**9], np.uint64), ["text"])


def test_texts_are_held_from_the_question_on_that_patience_names(dataset):
    snapshot = dataset.require()
    some = np.sort(snapshot.native.scanner(columns=[], with_row_id=True).to_table()["_rowid"].to_numpy())[[9, 3, 5]]
    loaded = []
    for _ in range(4):
        texts = read_wide(snapshot, some, ["text"], 3)["text"].to_pylist()
        assert texts == snapshot.take_rows(some, ["text"])["text"].to_pylist()
        loaded.append("text" in rows._held(snapshot)._columns)
    assert loaded == [False, False, True, True]
