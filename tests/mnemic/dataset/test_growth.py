"""Columns grow fragment by fragment, and what is pending is read off the dataset itself."""

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Dataset, Store
from mnemic.dataset.growth import add_fields, commit_growth, drop_fields, grow, pending
from mnemic.dataset.write import append, write_rows

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("n", pa.int64(), nullable=False)])
SQUARE = pa.schema([pa.field("square", pa.int64()), pa.field("pair", pa.list_(pa.float16(), 2))])


def rows(start: int, stop: int) -> pa.Table:
    return pa.table({"id": [f"{i:04d}" for i in range(start, stop)], "n": list(range(start, stop))}, schema=SCHEMA)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    numbers = Store(tmp_path)["numbers"]
    numbers.create(SCHEMA, {"step": "count"}, {})
    for start in (0, 100, 200):
        append(numbers, write_rows(numbers.uri, rows(start, start + 100), SCHEMA), {"mnemic.step": "count"})
    return numbers


def grow_one(dataset: Dataset, fragment: int) -> str:
    snapshot = dataset.require()
    table = pa.Table.from_batches(list(snapshot.scan(["n"], fragments=[fragment], row_ids=True)))
    n = table["n"].to_numpy()
    pair = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(n, 2).astype(np.float16)), 2)
    return grow(
        dataset.uri, snapshot.version, fragment, pa.table({"_rowid": table["_rowid"], "square": n * n, "pair": pair})
    )


def test_a_fragment_is_pending_until_its_columns_are_committed(dataset):
    assert pending(dataset.require(), SQUARE.names) == [0, 1, 2]
    snapshot = add_fields(dataset, SQUARE, {"step": "square", "fingerprint": "f"})
    assert pending(snapshot, SQUARE.names) == [0, 1, 2]
    grown = grow_one(dataset, 1)
    assert pending(dataset.require(), SQUARE.names) == [0, 1, 2], "written is not committed"
    commit_growth(dataset, snapshot.version, [grown], {"mnemic.step": "square"})
    assert pending(dataset.require(), SQUARE.names) == [0, 2]
    commit_growth(dataset, snapshot.version, [grow_one(dataset, 0), grow_one(dataset, 2)], {})
    table = dataset.require().table(["n", "square", "pair"])
    assert table["square"].to_pylist() == [n * n for n in table["n"].to_pylist()]
    assert table["pair"].to_pylist()[7] == [7.0, 7.0]


def test_appended_rows_are_pending_and_rows_deleted_meanwhile_do_not_come_back(dataset):
    snapshot = add_fields(dataset, SQUARE, {"step": "square"})
    commit_growth(dataset, snapshot.version, [grow_one(dataset, fragment) for fragment in (0, 1, 2)], {})
    append(dataset, write_rows(dataset.uri, rows(300, 310), SCHEMA), {})
    dataset.delete("id IN ('0303', '0007')")
    (fragment,) = pending(dataset.require(), SQUARE.names)
    commit_growth(dataset, dataset.require().version, [grow_one(dataset, fragment)], {})
    assert pending(dataset.require(), SQUARE.names) == []
    table = dataset.require().table(["n", "square"])
    assert len(table) == 308
    assert table["square"].to_pylist() == [n * n for n in table["n"].to_pylist()]


def test_growing_anew_gives_new_fields_so_old_values_cannot_be_taken_for_done(dataset):
    snapshot = add_fields(dataset, SQUARE, {"fingerprint": "old"})
    commit_growth(dataset, snapshot.version, [grow_one(dataset, fragment) for fragment in (0, 1, 2)], {})
    assert dataset.require().column_record("square") == {"fingerprint": "old"}
    again = add_fields(dataset, SQUARE, {"fingerprint": "new"})
    assert again.column_record("pair") == {"fingerprint": "new"}
    assert pending(again, SQUARE.names) == [0, 1, 2]


def test_dropped_columns_are_gone(dataset):
    add_fields(dataset, SQUARE, {})
    drop_fields(dataset, ["pair"])
    assert dataset.require().schema.names == ["id", "n", "square"]


def test_taking_rows_by_position_counts_only_the_rows_that_live(dataset):
    dataset.delete("n < 10")
    assert dataset.require().take([0, 1, 289], ["n"])["n"].to_pylist() == [10, 11, 299]
