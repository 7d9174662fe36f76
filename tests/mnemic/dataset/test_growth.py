"""Columns grow fragment by fragment, and what is pending is read off the dataset itself."""

import json
import uuid

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


NESTED = pa.schema(
    [
        pa.field(
            "verdict",
            pa.struct(
                [
                    pa.field("rule", pa.string(), nullable=False),
                    pa.field("value", pa.float64()),
                    pa.field("rules", pa.list_(pa.string()), nullable=False),
                ]
            ),
        ),
        pa.field("counts", pa.struct([pa.field(f"c{place}", pa.int32(), nullable=False) for place in range(5)])),
        pa.field("pair", pa.list_(pa.float16(), 2)),
        pa.field("words", pa.list_(pa.list_(pa.int32()))),
        pa.field("blob", pa.large_binary()),
    ]
)


def nested(numbers) -> pa.Table:
    rows = [
        {
            "verdict": {"rule": "r" * (n % 3), "value": n / 7 if n % 2 else None, "rules": ["a", "b"][: n % 3]},
            "counts": {f"c{place}": n * place for place in range(5)} if n % 5 else None,
            "pair": [n, n / 2],
            "words": [[n], []] if n % 4 else None,
            "blob": bytes([n % 256]) * (n % 9),
        }
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, schema=NESTED)


@pytest.mark.parametrize("way", ["in order", "shuffled", "a row lost", "a part"])
def test_a_file_written_as_it_is_says_what_lance_would_have_joined(dataset, way):
    """Struct, lists and vectors, read back; only whole fragments in their order are written without a look-up."""
    snapshot = add_fields(dataset, NESTED, {"step": "nest"})
    if way == "a row lost":
        dataset.delete("n = 103")
        snapshot = dataset.require()
    table = pa.Table.from_batches(list(snapshot.scan(["n"], fragments=[1], row_ids=True)))
    if way == "shuffled":
        table = table.take(np.random.default_rng(0).permutation(len(table)))
    if way == "a part":
        table = table.slice(3)
    grown = nested(table["n"].to_pylist()).append_column("_rowid", table["_rowid"])
    item = json.loads(grow(dataset.uri, snapshot.version, 1, grown))
    (_, file) = item["fragment"]["files"]
    joined, fields = snapshot.native.get_fragment(1).update_columns(grown)
    (_, other) = joined.to_json()["files"]
    assert {**file, "path": "", "file_size_bytes": 0} == {**other, "path": "", "file_size_bytes": 0}
    assert sorted(item["fields"]) == sorted(fields)
    ours = len(file["path"]) == len(f"{uuid.uuid4().hex}.lance")
    assert ours == (way == "in order")
    commit_growth(dataset, snapshot.version, [json.dumps(item)], {})
    rows = dataset.require().table(["n", *NESTED.names], "n >= 100 AND n < 200").to_pylist()
    there = set(table["n"].to_pylist())
    expected = nested([row["n"] for row in rows]).to_pylist()
    nothing = dict.fromkeys(NESTED.names)
    for row, values in zip(rows, expected, strict=True):
        assert row == {"n": row["n"], **(values if row["n"] in there else nothing)}
    dataset.delete("n = 110")
    assert dataset.require().count("verdict IS NOT NULL") == len(there) - 1


def test_a_column_that_a_fragment_holds_is_written_over(dataset):
    """Growing again what stands, as a step does whose condition has come to hold for more rows."""
    snapshot = add_fields(dataset, SQUARE, {"step": "square"})
    commit_growth(dataset, snapshot.version, [grow_one(dataset, 1)], {})
    version = dataset.require().version
    table = pa.Table.from_batches(list(dataset.require().scan(["n"], fragments=[1], row_ids=True)))
    again = pa.table({"_rowid": table["_rowid"], "square": table["n"]})
    commit_growth(dataset, version, [grow(dataset.uri, version, 1, again)], {})
    rows = dataset.require().table(["n", "square", "pair"], "n >= 100 AND n < 200").to_pylist()
    assert all(row["square"] == row["n"] and row["pair"] == [row["n"]] * 2 for row in rows)


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
