"""Columns of vectors as arrays [n, d], and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray


def vectors(column: pa.Array | pa.ChunkedArray, dtype: DTypeLike | None = None, copy: bool = True) -> NDArray[Any]:
    """A column of lists of one size as an array [n, d] of ``dtype`` (default: the column's own).

    Without ``copy`` the array is a view of the column, and read-only, where dtype and chunks allow that.
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = whole.flatten().to_numpy(zero_copy_only=False)
    values = np.array(flat, dtype) if copy else np.asarray(flat, dtype)
    return values.reshape(len(whole), whole.type.list_size)


def column(vectors: NDArray[Any]) -> pa.FixedSizeListArray:
    """An array [n, d] as a column of lists of d values of its dtype."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
