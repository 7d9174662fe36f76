"""Columns that another dataset has of a step's inputs: by id, null where it has no row, and only of the right step."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.write import append, write_rows
from operators.sections import Lookup
from pipelines.steps.lookup import LookedUp

ROWS = pa.schema([pa.field("document", pa.string()), pa.field("tokens", pa.list_(pa.uint16()))])
LOOKUP = Lookup("tokens", "tokens", "document", ("tokens",), "right")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    dataset = store["tokens"]
    dataset.create(ROWS, {"fingerprint": "right"}, {})
    for start in (0, 3):
        names = [f"document {number}" for number in range(start, start + 3)]
        rows = pa.table({"document": names, "tokens": [[start], [], [start, 2]]}, schema=ROWS)
        append(dataset, write_rows(dataset.uri, rows, ROWS), {})
    return store


def batch(*numbers):
    return pa.RecordBatch.from_pydict({"id": [f"document {number}" for number in numbers], "n": list(numbers)})


def test_values_come_in_the_order_of_the_batch_and_null_for_what_is_not_there(store):
    looked_up = LookedUp(store, (LOOKUP,)).beside(batch(5, 9, 1, 0, 5), "id")
    assert looked_up.schema.names == ["id", "n", "tokens"] and looked_up["n"].to_pylist() == [5, 9, 1, 0, 5]
    assert looked_up["tokens"].to_pylist() == [[3, 2], None, [], [0], [3, 2]]
    assert LookedUp(store, (LOOKUP,)).beside(batch(7, 8), "id")["tokens"].null_count == 2
    assert LookedUp(store, (LOOKUP,)).beside(batch(), "id").num_rows == 0


@pytest.mark.parametrize("change", [{"fingerprint": "wrong"}, {"dataset": "nowhere"}])
def test_a_dataset_of_another_step_or_none_is_left_out(store, change):
    lookup = Lookup(**{**LOOKUP.__dict__, **change})
    assert LookedUp(store, (lookup,)).beside(batch(1), "id").schema.names == ["id", "n"]
