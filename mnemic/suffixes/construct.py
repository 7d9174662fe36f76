"""The order of all places of a shard by the tokens before them, nearest first: a suffix array of the reversed text.

libdivsufsort sorts bytes, so tokens are written as big-endian groups of bytes, whose order is that of the tokens, and
only suffixes that begin with a token stay. Where the library is not installed, prefix doubling (Karp, Miller and
Rosenberg 1972) finds the same order with numpy: all suffixes differ, so there is one order.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.compiled import can_compile, compiled

SuffixArray = NDArray[np.int32]

LARGEST_SHARD = (1 << 31) - 1
"""Bytes that libdivsufsort sorts at once, and places that an int32 can name."""


def sorted_places(tokens: NDArray[Any], separator: int) -> SuffixArray:
    """Every place behind a token of ``tokens`` [n], ordered by the tokens before it: int32 [tokens that separate none].

    A place is the number of the token that follows. ``tokens`` are documents (of uint16 or uint32), each with the
    ``separator``, the largest number of the type, behind it. The text before the first token sorts before all tokens.
    """
    if not len(tokens):
        return np.empty(0, np.int32)
    fast = importlib.util.find_spec("pydivsufsort") is not None
    order = _by_bytes(tokens, separator) if fast else None
    if order is None:
        order = _by_doubling(tokens)
    # Reversed, the suffix that begins with token i is what stands before the place i + 1; separators sort last.
    np.subtract(np.int32(len(tokens)), order, out=order)
    return order[: len(order) - int(np.count_nonzero(tokens == separator))]


def _by_bytes(tokens: NDArray[Any], separator: int) -> SuffixArray | None:
    """The suffix array of ``tokens`` reversed, int32 [n], by libdivsufsort; None where they are too many for it."""
    from pydivsufsort import divsufsort

    size = tokens.dtype.itemsize
    width = 2 if size == 2 else 4
    if width == 4 and tokens.max(initial=0, where=tokens != separator) < (1 << 24) - 1:
        width = 3  # the last three bytes of the separator are above those of every token
    if len(tokens) * width > LARGEST_SHARD:
        return None
    groups = tokens[::-1].astype(f">u{size}").view(np.uint8).reshape(-1, size)[:, size - width :]
    order = divsufsort(np.ascontiguousarray(groups).reshape(-1))
    if can_compile():
        begins = np.empty(len(tokens) + 1, np.int32)
        _beginnings(order, width, begins)
        return begins[:-1]
    return (order[order % width == 0] // width).astype(np.int32, copy=False)


@compiled
def _beginnings(order: Any, width: int, begins: Any) -> None:
    """Of suffixes of bytes those that begin with a token, as numbers of tokens; ``begins`` has room for one more."""
    size = 0
    if width == 2:
        for index in range(len(order)):
            byte = order[index]
            begins[size] = byte >> 1
            size += 1 - (byte & 1)
        return
    for index in range(len(order)):
        byte = order[index]
        begins[size] = byte // width
        size += byte % width == 0


def _by_doubling(tokens: NDArray[Any]) -> SuffixArray:
    """The suffix array of ``tokens`` reversed, int32 [n], by prefix doubling."""
    _, rank = np.unique(tokens[::-1], return_inverse=True)
    rank = rank.astype(np.int64)
    count, length = len(rank), 1
    while True:
        following = np.full(count, -1, np.int64)  # the end sorts first
        following[: max(count - length, 0)] = rank[length:]
        key = rank * (count + 1) + following + 1
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        steps = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        rank[order] = steps
        if steps[-1] == count - 1:
            return order.astype(np.int32)
        length *= 2
