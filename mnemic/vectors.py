"""Columns of vectors as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def vectors(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float16]:
    """A fixed-size list column of float16 as an array [n, d]."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = whole.flatten().to_numpy(zero_copy_only=False)
    return np.array(flat, dtype=np.float16).reshape(len(whole), whole.type.list_size)
