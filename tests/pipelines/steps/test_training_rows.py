"""The rows that a memory is trained on, streamed from a bank: in memory or in a file they are what one sort makes."""

import numpy as np
import pyarrow as pa
import pytest

from mnemic import schema
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import StepError
from mnemic.vectors import column, vectors
from operators.imitate import mlp
from operators.imitate.mlp import Imitate
from operators.imitate.rows import TrainingRows
from pipelines import key_order, spill
from pipelines.steps.training_rows import training_rows

WIDTH, SUPPORT = 8, 3
STORED = pa.schema(
    [
        *(field for field in schema.datastore(WIDTH, 100) if field.name != "key"),
        pa.field("teacher_ids", pa.list_(pa.uint16(), SUPPORT)),
        pa.field("teacher_probs", pa.list_(pa.uint8(), SUPPORT)),
    ]
)


def rows_of(count: int) -> pa.Table:
    drawn = np.random.default_rng(count)
    place = drawn.permutation(count)
    return pa.table(
        {
            "document": [f"{number // 7:032x}" for number in place],
            "position": pa.array(place % 7, pa.int32()),
            "start": pa.array(place, pa.int64()),
            "split": ["validation-document" if number // 7 % 5 == 0 else "store" for number in place],
            "token": drawn.integers(100, size=count),
            "base_logprob": -drawn.random(count),
            "input": column(drawn.normal(size=(count, WIDTH)).astype(np.float16)),
            "teacher_ids": column(drawn.integers(100, size=(count, SUPPORT)).astype(np.uint16)),
            "teacher_probs": column(drawn.integers(256, size=(count, SUPPORT)).astype(np.uint8)),
        }
    ).select(STORED.names)


def bank_of(place, rows: pa.Table) -> tuple[Store, int]:
    store = Store(str(place))
    table = rows.cast(STORED)
    for start in range(0, len(table), 40):
        append_rows(store["datastore"], table.slice(start, 40), STORED, {})
    return store, store["datastore"].require().version


def defined(rows: pa.Table, split: str, name: str, dtype: type) -> np.ndarray:
    """The column of the rows of a split, in the order of their key."""
    table = rows.filter(pa.compute.equal(rows["split"], split))
    values = table.sort_by([("document", "ascending"), ("position", "ascending")])[name]
    return vectors(values, dtype) if pa.types.is_fixed_size_list(values.type) else np.asarray(values).astype(dtype)


def arrays(rows: TrainingRows) -> list[np.ndarray]:
    return list(vars(rows).values())


@pytest.mark.parametrize("in_memory", [0, 1000, 1 << 30])
@pytest.mark.parametrize("run", [13, 1 << 20])
def test_rows_are_those_of_one_sort_wherever_they_lie(in_memory, run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(spill, "IN_MEMORY", in_memory)
    monkeypatch.setattr(key_order, "RUN", run)
    rows = rows_of(211)
    streamed, count = training_rows(*bank_of(tmp_path, rows), Imitate(model="none"), "cpu")
    taught = [("input", np.float16), ("token", np.int32), ("teacher_ids", np.int32), ("teacher_probs", np.uint8)]
    held_out = [("input", np.float16), ("token", np.int32), ("base_logprob", np.float32)]
    expected = [defined(rows, "store", *one) for one in taught]
    expected += [defined(rows, "validation-document", *one) for one in held_out]
    assert count == len(expected[1])
    for array, definition in zip(arrays(streamed), expected, strict=True):
        assert array.dtype == definition.dtype and np.array_equal(array, definition)


def test_a_bank_without_such_rows_has_none(tmp_path) -> None:
    streamed, count = training_rows(*bank_of(tmp_path, rows_of(3)), Imitate(model="none"), "cpu")
    assert count == 0 and streamed.input.shape == (0, WIDTH) and streamed.teacher_ids.shape == (0, SUPPORT)


def test_rows_without_a_teacher_are_refused(tmp_path) -> None:
    rows = rows_of(50)
    gone = pa.array([None] * 50, STORED.field("teacher_ids").type)
    rows = rows.set_column(rows.schema.get_field_index("teacher_ids"), "teacher_ids", gone)
    with pytest.raises(StepError, match="run the teacher step"):
        training_rows(*bank_of(tmp_path, rows), Imitate(model="none"), "cpu")


def test_distinct_tokens_are_found_part_by_part(monkeypatch) -> None:
    monkeypatch.setattr(mlp, "_AT_ONCE", 3)
    for count in (0, 1, 3, 20):
        tokens = np.random.default_rng(count).integers(9, size=count).astype(np.int32)
        assert np.array_equal(mlp.distinct(tokens), np.unique(tokens))
