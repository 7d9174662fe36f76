"""splitmix64 (Steele, Lea and Flood 2014): bijections on 64 bits that spread every input bit.

`mixed` and `finalised` take arrays. Kernels that numba compiles call `finalised_in_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import inlined

GAMMA = np.uint64(0x9E3779B97F4A7C15)  # odd: adding it walks through all of 64 bits


def finalised(state: Any) -> Any:
    """The finaliser: uint64 of any shape to uint64 of that shape."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def mixed(state: Any) -> Any:
    """The next output of the generator from ``state``: uint64 of any shape to uint64 of that shape."""
    return finalised(state + GAMMA)


finalised_in_kernels = inlined(finalised)
