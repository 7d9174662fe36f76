"""The nearest candidates of many queries, updated while tiles of products go by; compiled, for processors.

A candidate is one integer of 64 bits: its estimated distance in the high half, its place in the low half. So equal
distances go to the first place, and the result does not depend on the order of the tiles. Each query has a line of room
for twice as many candidates as it needs. A tile is read in stretches of scores, and most stretches hold none that the
line would still take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers
from mnemic.compiled import compiled, summing

if TYPE_CHECKING:
    import torch

    from mnemic.neighbours.codes import Codes


NONE = (1 << 63) - 1
"""No candidate; it comes after all others."""

_STRETCH = 64
_PLACE = np.int64(0xFFFFFFFF)
_REST = np.int32(0x7FFFFFFF)
_HALF_REST, _HALF_SIGN, _TO_FLOAT, _TO_SIGN = np.uint32(0x7FFF), np.uint32(0x8000), np.uint32(13), np.uint32(16)
_TOGETHER = 256  # queries that stay in a cache of a megabyte
_SHELF = 4  # sixteen keys
_EXPONENTS = np.float32(2.0**112)  # between those of a half and of a float with the same bits


class Candidates:
    """The ``count`` best rows of a store for each of ``queries`` [b], whose documents are ``owner`` int64 [b]."""

    def __init__(self, queries: Codes, owner: torch.Tensor, count: int) -> None:
        self.scale, self.owner, self.count = queries.scale.numpy(), owner.numpy(), count
        self.lines = np.empty((len(queries), 2 * count), np.int64)
        self.filled = np.zeros(len(queries), np.int64)
        self.reach = np.full(len(queries), np.inf, np.float32)
        self.scores = np.zeros(1, np.float32)

    def take(self, which: torch.Tensor, products: torch.Tensor, stored: Codes, owner: torch.Tensor, first: int) -> None:
        """Add the rows ``first`` to first + n, by their ``products`` int32 [m, n] with the queries ``which`` int64 [m].

        ``stored`` [n] are the codes of these rows, ``owner`` int64 [n] their documents.
        """
        if len(self.scores) <= len(owner):
            self.scores = np.zeros(len(owner) + 1, np.float32)
        _take(
            products.numpy(),
            which.numpy(),
            self.scale,
            self.owner,
            stored.scale.numpy(),
            stored.norm.numpy(),
            owner.numpy(),
            first,
            self.lines,
            self.filled,
            self.reach,
            self.count,
            self.scores,
            self.scores.view(np.int32),
        )

    def tighten(self) -> None:
        """Drop candidates that are not among the best so far, so that the next tiles are compared with these."""
        _tighten(self.lines, self.filled, self.reach, self.count, self.scores, self.scores.view(np.int32))

    def nearest(
        self, queries: torch.Tensor, keys: torch.Tensor, rows: torch.Tensor, k: int
    ) -> tuple[npt.NDArray[np.float32], Integers]:
        """The k nearest candidates by exact distance: squared distances float32 [b, k], and their rows int64 [b, k].

        ``queries`` [b, d] and ``keys`` [n, d] are float16; ``rows`` int64 [n] names the keys, and equal distances are
        in the order of these names. Where there are fewer candidates, distances are infinite and rows -1.
        """
        distances = np.full((len(self.lines), k), np.inf, np.float32)
        nearest_rows = np.full((len(self.lines), k), -1, np.int64)
        halves, stored = queries.float().numpy(), keys.view(_int16()).numpy().view(np.uint16)
        _nearest(halves, stored, self.lines, self.filled, self.count, rows.numpy(), distances, nearest_rows)
        return distances, nearest_rows

    def best(self, queries: torch.Tensor, keys: torch.Tensor, rows: torch.Tensor) -> tuple[Integers, Integers]:
        """All candidates, in no order: (estimated distance, place) and (exact distance, row), int64 [b, count] each.

        The distance is in the high half of the integer, as `nearest` compares them. Both are `NONE` where there are
        fewer candidates.
        """
        exact = np.full((len(self.lines), self.count), NONE, np.int64)
        halves, stored = queries.float().numpy(), keys.view(_int16()).numpy().view(np.uint16)
        _all(halves, stored, self.lines, self.filled, self.count, rows.numpy(), exact)
        here = np.arange(self.count) < self.filled[:, None]
        return np.where(here, self.lines[:, : self.count], NONE), exact


def _int16() -> torch.dtype:
    import torch

    return torch.int16


@compiled
def _take(
    products: npt.NDArray[np.int32],
    which: Integers,
    query_scale: npt.NDArray[np.float32],
    query_owner: Integers,
    scale: npt.NDArray[np.float32],
    norm: npt.NDArray[np.float32],
    owner: Integers,
    first: int,
    lines: Integers,
    filled: Integers,
    reach: npt.NDArray[np.float32],
    count: int,
    scores: npt.NDArray[np.float32],
    score_bits: npt.NDArray[np.int32],
) -> None:
    width, capacity = products.shape[1], lines.shape[1]
    for i in range(products.shape[0]):
        query = which[i]
        own, limit, size = query_owner[query], reach[query], filled[query]
        _estimate(products[i], np.float32(-2.0) * query_scale[query], scale, norm, scores)
        for begin in range(0, width, _STRETCH):
            end = min(begin + _STRETCH, width)
            if _below(scores[begin:end], limit) == 0:
                continue
            for j in range(begin, end):
                if scores[j] <= limit and owner[j] != own:
                    bits = score_bits[j]
                    order = np.int64(bits ^ _REST if bits < 0 else bits)
                    lines[query, size] = (order << 32) | np.int64(first + j)
                    size += 1
                    if size == capacity:
                        limit = _best(lines[query], size, count, scores, score_bits)
                        size = count
        filled[query], reach[query] = size, limit


@compiled
def _estimate(
    products: npt.NDArray[np.int32],
    factor: np.float32,
    scale: npt.NDArray[np.float32],
    norm: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
) -> None:
    for j in range(products.shape[0]):  # in loops as plain as these there are vector instructions
        scores[j] = norm[j] + (factor * scale[j]) * np.float32(products[j])


@compiled
def _below(scores: npt.NDArray[np.float32], limit: np.float32) -> np.int32:
    count = np.int32(0)
    for j in range(scores.shape[0]):
        count += np.int32(1) if scores[j] <= limit else np.int32(0)
    return count


@compiled
def _tighten(
    lines: Integers,
    filled: Integers,
    reach: npt.NDArray[np.float32],
    count: int,
    scores: npt.NDArray[np.float32],
    score_bits: npt.NDArray[np.int32],
) -> None:
    for query in range(len(filled)):
        if filled[query] > count:
            reach[query] = _best(lines[query], filled[query], count, scores, score_bits)
            filled[query] = count


@compiled
def _best(
    line: Integers, filled: int, count: int, scores: npt.NDArray[np.float32], score_bits: npt.NDArray[np.int32]
) -> np.float32:
    """Move the ``count`` smallest to the front of the line, and return the largest score of these."""
    _smallest_first(line, filled, count)
    largest = np.int32(np.max(line[:count]) >> 32)
    score_bits[-1] = largest ^ _REST if largest < 0 else largest  # the last place is for this alone
    last: np.float32 = scores[-1]
    return last


@compiled
def _nearest(
    queries: npt.NDArray[np.float32],
    stored: npt.NDArray[np.uint16],
    lines: Integers,
    filled: Integers,
    count: int,
    rows: Integers,
    distances: npt.NDArray[np.float32],
    nearest_rows: Integers,
) -> None:
    """Work on `_TOGETHER` queries at a time: near queries need the same keys, and each key is read once for all."""
    k = nearest_rows.shape[1]
    ends = np.zeros((len(stored) >> _SHELF) + 2, np.int64)
    pairs = np.empty(_TOGETHER * count, np.int64)
    exact = np.empty((_TOGETHER, count), np.int64)
    squared = np.zeros(1, np.float32)
    bits = squared.view(np.uint32)
    for first in range(0, len(queries), _TOGETHER):
        last = min(first + _TOGETHER, len(queries))
        for query in range(first, last):
            if filled[query] > count:
                _smallest_first(lines[query], filled[query], count)
                filled[query] = count
        _shelved(lines[first:last], filled[first:last], ends, pairs)
        _compare(queries[first:last], stored, lines[first:last], ends, pairs, rows, exact)
        for query in range(first, last):
            nearest = np.sort(exact[query - first, : filled[query]])
            for t in range(min(len(nearest), k)):
                bits[0] = np.uint32(nearest[t] >> 32)
                distances[query, t] = squared[0]
                nearest_rows[query, t] = nearest[t] & _PLACE


@compiled
def _all(
    queries: npt.NDArray[np.float32],
    stored: npt.NDArray[np.uint16],
    lines: Integers,
    filled: Integers,
    count: int,
    rows: Integers,
    exact: Integers,
) -> None:
    ends = np.zeros((len(stored) >> _SHELF) + 2, np.int64)
    pairs = np.empty(_TOGETHER * count, np.int64)
    for first in range(0, len(queries), _TOGETHER):
        last = min(first + _TOGETHER, len(queries))
        for query in range(first, last):
            if filled[query] > count:
                _smallest_first(lines[query], filled[query], count)
                filled[query] = count
        _shelved(lines[first:last], filled[first:last], ends, pairs)
        _compare(queries[first:last], stored, lines[first:last], ends, pairs, rows, exact[first:last])


@compiled
def _shelved(lines: Integers, filled: Integers, ends: Integers, pairs: Integers) -> None:
    """Sort the lines' candidates by shelves of `2**_SHELF` neighbouring places.

    ``pairs[ends[s]:ends[s + 1]]`` are those of shelf s, each (query << 32) | number in its line.
    """
    ends[:] = 0
    for query in range(len(lines)):
        for t in range(filled[query]):
            ends[((lines[query, t] & _PLACE) >> _SHELF) + 1] += 1
    for shelf in range(1, len(ends)):
        ends[shelf] += ends[shelf - 1]
    for query in range(len(lines) - 1, -1, -1):
        for t in range(filled[query]):
            shelf = ((lines[query, t] & _PLACE) >> _SHELF) + 1
            ends[shelf] -= 1
            pairs[ends[shelf]] = (np.int64(query) << 32) | t
    for shelf in range(len(ends) - 1):  # what was each shelf's end is its beginning now
        ends[shelf] = ends[shelf + 1]
    ends[-1] = filled.sum()


@compiled
def _compare(
    queries: npt.NDArray[np.float32],
    stored: npt.NDArray[np.uint16],
    lines: Integers,
    ends: Integers,
    pairs: Integers,
    rows: Integers,
    exact: Integers,
) -> None:
    """Write the squared distances of all pairs into ``exact``, one shelf after the other."""
    bits = np.zeros((1 << _SHELF, queries.shape[1]), np.uint32)
    keys = bits.view(np.float32)
    read = np.zeros(1 << _SHELF, np.bool_)
    squared = np.zeros(1, np.float32)
    squared_bits = squared.view(np.uint32)
    for shelf in range(len(ends) - 1):
        if ends[shelf] == ends[shelf + 1]:
            continue
        read[:] = False
        for at in range(ends[shelf], ends[shelf + 1]):
            query, t = pairs[at] >> 32, pairs[at] & _PLACE
            place = lines[query, t] & _PLACE
            slot = place & ((1 << _SHELF) - 1)
            if not read[slot]:
                _widen(stored[place], bits[slot], keys[slot])
                read[slot] = True
            squared[0] = _squared_distance(queries[query], keys[slot])
            exact[query, t] = (np.int64(squared_bits[0]) << 32) | rows[place]


@compiled
def _widen(half: npt.NDArray[np.uint16], bits: npt.NDArray[np.uint32], values: npt.NDArray[np.float32]) -> None:
    """Convert float16 to float32: move the bits to their places, and correct the difference of the exponents."""
    for c in range(len(half)):
        word = np.uint32(half[c])
        bits[c] = ((word & _HALF_REST) << _TO_FLOAT) | ((word & _HALF_SIGN) << _TO_SIGN)
    for c in range(len(half)):
        values[c] *= _EXPONENTS


@summing
def _squared_distance(query: npt.NDArray[np.float32], key: npt.NDArray[np.float32]) -> np.float32:
    total = np.float32(0.0)
    for c in range(len(query)):
        gap = query[c] - key[c]
        total += gap * gap
    return total


@compiled
def _smallest_first(line: Integers, filled: int, count: int) -> None:
    """Move the ``count`` smallest of ``line[:filled]`` to its front, in no order (Hoare's selection)."""
    low, high = 0, filled - 1
    while low < high:
        first, middle, last = line[low], line[(low + high) >> 1], line[high]
        pivot = max(min(first, middle), min(max(first, middle), last))
        i, j = low, high
        while i <= j:
            while line[i] < pivot:
                i += 1
            while line[j] > pivot:
                j -= 1
            if i <= j:
                line[i], line[j] = line[j], line[i]
                i += 1
                j -= 1
        if count - 1 <= j:
            high = j
        elif count - 1 >= i:
            low = i
        else:
            return
