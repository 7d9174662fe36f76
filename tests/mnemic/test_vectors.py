from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mnemic.vectors import column, vectors

ROWS = np.arange(12, dtype=np.float16).reshape(4, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.uint8])
def test_an_array_comes_back_from_its_column(dtype: type[np.generic]) -> None:
    rows = ROWS.astype(dtype)
    lists = column(rows)
    assert lists.type == pa.list_(pa.from_numpy_dtype(dtype), 3)
    assert vectors(lists).dtype == dtype and np.array_equal(vectors(lists), rows)
    assert vectors(lists, np.float32).dtype == np.float32 and np.array_equal(vectors(lists, np.float32), rows)


def test_slices_chunks_and_no_rows_are_columns_like_others() -> None:
    whole = column(ROWS)
    assert np.array_equal(vectors(whole.slice(1, 2)), ROWS[1:3])
    assert np.array_equal(vectors(pa.chunked_array([whole, whole.slice(2)])), np.concatenate([ROWS, ROWS[2:]]))
    assert vectors(whole.slice(4)).shape == (0, 3)


def test_a_copy_can_be_written_to_and_a_view_shares_the_columns_memory() -> None:
    whole = column(ROWS)
    vectors(whole)[:] = 0
    assert np.array_equal(vectors(whole), ROWS)
    view = vectors(whole, copy=False)
    assert not view.flags.writeable and np.shares_memory(view, vectors(whole, np.float16, copy=False))
