"""Names for arrays in signatures; each name is one dtype everywhere. Docstrings give the shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

Integers = NDArray[np.int64]

Floats = NDArray[np.float64]

Floats32 = NDArray[np.float32]

Vectors = NDArray[np.float32]
"""Rows of components, [n, d]."""

AnyVectors = NDArray[np.float32 | np.float64]
"""Rows of components, [n, d], in single or double precision."""

Hashes = NDArray[np.uint64]

RowIds = NDArray[np.uint64]
"""Numbers of rows that stay the same while a snapshot lives."""

Signatures = NDArray[np.uint32]
"""MinHash signatures, [n, permutations]."""
