"""MinHash signatures by fast similarity sketching: O(n + k log k) for n shingles and k components.

Dahlgaard, Knudsen and Thorup, "Fast similarity sketching", FOCS 2017 (arXiv 1704.04370). A round sends every shingle
to one component by a hash of its own, where the smallest value stays; rounds follow until no component is empty, and
those of earlier rounds win. From round k on a round fills one component with the smallest of all shingles, so there
are at most 2 k. Long documents need one round, where k permutations take k. Two documents agree in one component with
a probability equal to the Jaccard similarity of their shingle sets, and the variance over components is no larger
than that of k independent permutations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled
from operators.deduplicate.words import mix

NO_SHINGLES = np.uint32(0xFFFFFFFF)
"""Every component of the signature of a document that is too short to have shingles."""

_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUND = np.uint64(0x9E3779B97F4A7C15)


@compiled
def sketch(shingles: Any, count: int, seed: Any, minima: Any, signature: Any) -> None:
    """Write the ``signature`` uint32 [k] of ``shingles[:count]`` uint64 (repeats do not matter).

    ``minima`` uint64 [k] is room for the sketch.
    """
    size = len(signature)
    if count == 0:
        signature[:] = NO_SHINGLES
        return
    minima[:] = _EMPTY
    width = np.uint64(size)
    for turn in range(2 * size):
        salt = mix(seed ^ (np.uint64(turn) * _ROUND))
        factor = mix(salt) | np.uint64(1)
        level = np.uint64(turn) << _HALF
        if turn < size:
            for i in range(count):
                value = (shingles[i] ^ salt) * factor
                value ^= value >> _HALF
                place = ((value * _ROUND) >> _HALF) * width >> _HALF
                value = level | value & _LOW
                minima[place] = min(minima[place], value)
        else:
            smallest = _EMPTY
            for i in range(count):
                value = (shingles[i] ^ salt) * factor
                value ^= value >> _HALF
                smallest = min(smallest, level | value & _LOW)
            minima[turn - size] = min(minima[turn - size], smallest)
        filled = True
        for place in range(size):
            filled &= minima[place] != _EMPTY
        if filled:
            break
    for place in range(size):
        value = minima[place]
        turn = value >> _HALF
        if turn:  # a value of another round is another value
            value = mix(value)
        signature[place] = np.uint32(value & _LOW) - np.uint32((value & _LOW) == _LOW)
