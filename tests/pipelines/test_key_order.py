"""Rows in the order of their key, and arrays in files: sorted in ranges they are what one sort makes of them."""

import string

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from pipelines import key_order
from pipelines.corpus_reader import KeyOrder
from pipelines.spill import Appended

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        pa.field("value", pa.int64(), nullable=False),
    ]
)
KEYS = st.lists(st.tuples(st.text(st.sampled_from("abé\U0001f600"), max_size=3), st.integers(-3, 3)), max_size=40)


@given(KEYS, st.integers(1, 9), st.integers(1, 12))
def test_ranges_are_what_one_sort_makes(keys: list[tuple[str, int]], size: int, run: int) -> None:
    schema = pa.schema([SCHEMA.field("name"), SCHEMA.field("number"), pa.field(key_order.PLACE, pa.int64())])
    rows = [{"name": name, "number": number, key_order.PLACE: place} for place, (name, number) in enumerate(keys)]
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    batches = [pa.RecordBatch.from_pylist(part, schema=schema) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_order, "RUN", run)
        ranges = list(key_order._in_ranges(batches, ["name", "number"]))
    places = [place for part in ranges for place in part[key_order.PLACE].to_pylist()]
    assert places == sorted(range(len(keys)), key=lambda place: (keys[place][0].encode(), keys[place][1]))
    assert run > len(keys) or not keys or len(ranges) == -(-len(keys) // run)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """600 rows in twelve fragments, of which every seventh is deleted."""
    dataset = Store(str(tmp_path_factory.mktemp("bank")))["rows"]
    drawn = np.random.default_rng(0).permutation(600)
    names = [string.ascii_letters[number % 40] * 2 for number in drawn]
    rows = pa.table({"name": names, "number": pa.array(drawn, pa.int32()), "value": drawn}, schema=SCHEMA)
    for start in range(0, 600, 50):
        append_rows(dataset, rows.slice(start, 50), SCHEMA, {})
    dataset.delete("number % 7 = 3")
    return dataset.require()


@pytest.mark.parametrize("where", [None, "number >= 250", "value % 5 = 0", "number < 0", "number = 599"])
@pytest.mark.parametrize("run", [7, 100, 1 << 20])
def test_rows_come_in_the_order_of_their_key(snapshot, where, run, monkeypatch) -> None:
    monkeypatch.setattr(key_order, "RUN", run)
    expected = snapshot.table(SCHEMA.names, where).sort_by([("name", "ascending"), ("number", "ascending")])
    order = KeyOrder(snapshot, ("name", "number"), where)
    assert len(order) == len(expected)
    batches = list(order.batches(SCHEMA.names, 64))
    assert pa.Table.from_batches(batches, SCHEMA).equals(expected.cast(SCHEMA))
    if len(expected) > 3:
        assert order.take([3, 0], SCHEMA.names).cast(SCHEMA).equals(expected.take([3, 0]).cast(SCHEMA))


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 60))
def test_an_array_in_a_file_is_the_array(sizes: list[int], in_memory: int) -> None:
    grown = Appended(np.int32, (2,), in_memory)
    parts = [np.full((size, 2), number, np.int32) for number, size in enumerate(sizes)]
    for part in parts:
        grown.append(part)
    assert len(grown) == sum(sizes)
    assert np.array_equal(grown.array(), np.concatenate([np.empty((0, 2), np.int32), *parts]))
