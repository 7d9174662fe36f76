"""The order of all places of a shard by the tokens before them, nearest first: a suffix array of the reversed text.

libdivsufsort sorts bytes, so tokens are written as codes of bytes whose order is that of the tokens' ranks. Frequent
tokens have one byte, others two or three, and no code is the beginning of another. Only suffixes that begin with a
token stay. Without numba all codes have the width of the largest. Where the library is not installed, prefix doubling
(Karp, Miller and Rosenberg 1972) finds the same order with numpy: all suffixes differ, so there is one order.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.compiled import can_compile, compiled
from mnemic.suffixes.ranks import Ranks, token_ranks

SuffixArray = NDArray[np.int32]

LARGEST_SHARD = (1 << 31) - 1
"""Bytes that libdivsufsort sorts at once, and places that an int32 can name."""

_SHORT = 96
"""Codes of one byte where there are codes of three."""


def sorted_places(tokens: NDArray[Any], separator: int) -> SuffixArray:
    """Every place behind a token of ``tokens`` [n], ordered by the tokens before it: int32 [tokens that separate none].

    A place is the number of the token that follows. ``tokens`` are documents (of uint16 or uint32), each with the
    ``separator``, the largest number of the type, behind it. Tokens are compared by `token_ranks`. The text before the
    first token sorts before all.
    """
    if not len(tokens):
        return np.empty(0, np.int32)
    ranks = token_ranks(tokens, separator)
    order: NDArray[Any] | None = None
    if importlib.util.find_spec("pydivsufsort") is not None:
        order = _by_codes(tokens, ranks, separator) if can_compile() else _by_width(tokens, ranks, separator)
    if order is None:
        order = len(tokens) - _by_doubling(_ranked(tokens, ranks, separator))
    # Reversed, the suffix that begins with token i is what stands before the place i + 1; separators sort last.
    return order[: len(order) - int(np.count_nonzero(tokens == separator))].astype(np.int32, copy=False)


def _ranked(tokens: NDArray[Any], ranks: Ranks, separator: int) -> NDArray[np.int32]:
    """The rank of each of ``tokens`` reversed, the separator's above all: int32 [n]."""
    backwards = tokens[::-1]
    inside = backwards != separator
    return np.where(inside, ranks[np.where(inside, backwards, 0)], np.int32(ranks.max() + 1))


def code_bounds(size: int) -> tuple[int, int]:
    """(codes of one byte, first bytes of codes of up to two bytes) for ``size`` codes in all.

    As many as can be have one byte. First bytes from the second number on begin codes of three.
    """
    if size <= 256:
        return size, 256
    short = (65_536 - size) // 255
    if short >= 0:
        return min(short, 255), 256
    left = size - _SHORT
    first = next(bound for bound in range(255, 0, -1) if (bound - _SHORT) * 256 + (256 - bound) * 65_536 >= left)
    return _SHORT, first


def _by_codes(tokens: NDArray[Any], ranks: Ranks, separator: int) -> SuffixArray | None:
    """The places behind tokens and separators, by what stands before them; None where the codes are too many bytes."""
    from pydivsufsort import divsufsort

    last = int(ranks.max()) + 1  # the rank of the separator
    short, first = code_bounds(last + 1)
    size = int(_code_bytes(tokens, ranks, last, separator, short, first))
    if size > LARGEST_SHARD:
        return None
    codes = np.empty(size, np.uint8)
    begins = np.zeros(size // 64 + 1, np.uint64)  # a bit for each byte that begins a code
    _encode(tokens, ranks, last, separator, short, first, codes, begins)
    order = divsufsort(codes)
    _keep_begins(order, begins, np.empty(len(begins), np.int32), len(tokens))
    return order[: len(tokens)]  # type: ignore[no-any-return]


@compiled
def _code_bytes(tokens: Any, ranks: Any, last: int, separator: int, short: int, first: int) -> int:
    size, two = 0, short + (first - short) * 256
    for token in tokens:
        rank = last if token == separator else ranks[token]
        size += 1 + (rank >= short) + (rank >= two)
    return size


@compiled
def _encode(
    tokens: Any, ranks: Any, last: int, separator: int, short: int, first: int, codes: Any, begins: Any
) -> None:
    """Write the codes of ``tokens``, from the last token to the first."""
    place, two = 0, short + (first - short) * 256
    for index in range(len(tokens) - 1, -1, -1):
        token = tokens[index]
        rank = last if token == separator else ranks[token]
        begins[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
        if rank < short:
            codes[place] = rank
            place += 1
        elif rank < two:
            codes[place] = short + ((rank - short) >> 8)
            codes[place + 1] = (rank - short) & 255
            place += 2
        else:
            codes[place] = first + ((rank - two) >> 16)
            codes[place + 1] = ((rank - two) >> 8) & 255
            codes[place + 2] = (rank - two) & 255
            place += 3


@compiled
def _bits(word: Any) -> Any:
    """The bits that are set in a word of 64."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _keep_begins(order: Any, begins: Any, before: Any, tokens: int) -> None:
    """Put the places of suffixes that begin with a code at the front of ``order``."""
    total = 0
    for word in range(len(begins)):
        before[word] = total
        total += np.int64(_bits(begins[word]))
    size = 0
    for index in range(len(order)):
        byte = order[index]
        word, bit = begins[byte >> 6], np.uint64(1) << np.uint64(byte & 63)
        if word & bit:
            order[size] = tokens - before[byte >> 6] - np.int64(_bits(word & (bit - np.uint64(1))))
            size += 1


def _by_width(tokens: NDArray[Any], ranks: Ranks, separator: int) -> NDArray[Any] | None:
    """As `_by_codes`, with codes of one width."""
    from pydivsufsort import divsufsort

    ranked = _ranked(tokens, ranks, separator)
    width = 2 if ranked.max() < 1 << 16 else 3
    if len(tokens) * width > LARGEST_SHARD:
        return None
    codes = ranked.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 4 - width :]
    order = divsufsort(np.ascontiguousarray(codes).reshape(-1))
    return len(tokens) - order[order % width == 0] // width  # type: ignore[no-any-return]


def _by_doubling(rank: NDArray[Any]) -> NDArray[np.int64]:
    """The suffix array of ``rank`` [n], by prefix doubling."""
    rank = rank.astype(np.int64)
    count, length = len(rank), 1
    while True:
        following = np.full(count, -1, np.int64)  # the end sorts first
        following[: max(count - length, 0)] = rank[length:]
        key = rank * (count + rank.max() + 2) + following + 1
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        steps = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        rank[order] = steps
        if steps[-1] == count - 1:
            return order
        length *= 2
