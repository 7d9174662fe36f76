"""Functions that numba compiles: without Python objects, without the interpreter's lock, cached on disk.

The cache lies beside the code, or in the user's cache folder where that cannot be written; `NUMBA_CACHE_DIR` names
another. Only integer arithmetic decides anything in them, so every machine computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def compiled(function: FunctionT) -> FunctionT:
    """Compile at the first call with arguments of new types."""
    made: FunctionT = njit(cache=True, nogil=True, boundscheck=False)(function)
    return made


def inlined(function: FunctionT) -> FunctionT:
    """Compile into every compiled function that calls it."""
    made: FunctionT = njit(cache=True, nogil=True, inline="always")(function)
    return made
