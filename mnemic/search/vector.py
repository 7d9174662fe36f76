"""The vector of a query that a caller has already, as the search takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.arrays import Floats32
from mnemic.errors import QueryError

_LEAST, _MOST = 1e-12, 1e12
"""Largest components between which squares neither vanish nor overflow in float32."""


def query_vector(vector: Any, size: int) -> Floats32:
    """``given``, numbers [size], as float32; very small and very large ones are scaled, which no cosine notices.

    A vector of zeros is left: it is near to nothing. Raises `QueryError` for another shape, and for NaN and infinite.
    """
    try:
        array = np.asarray(vector)
    except (TypeError, ValueError, RuntimeError) as error:
        raise QueryError(f"The vector of the query is no array of numbers; give {size} of them.") from error
    if array.dtype.kind not in "iuf":
        raise QueryError(f"The vector of the query holds {array.dtype}, not numbers; give {size} of them.")
    if array.shape != (size,):
        raise QueryError(
            f"The vector of the query has the shape {list(array.shape)}, those of this bank have [{size}]; give one "
            "vector, of the encoder that the bank was built with."
        )
    if not np.isfinite(array).all():
        raise QueryError("The vector of the query holds NaN or infinite numbers; look at how it was computed.")
    exact = array.astype(np.float64)
    largest = float(np.abs(exact).max(initial=0.0))
    return (exact if largest == 0 or _LEAST < largest < _MOST else exact / largest).astype(np.float32)
