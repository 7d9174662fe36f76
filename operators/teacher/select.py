"""The nearest candidates of many queries, kept while tiles of products go by; compiled, for processors.

A candidate is one integer of 64 bits, its estimated distance above its place, so that equal distances go to the first
place, and what is kept does not depend on the order of the tiles. Each query has a line of twice as many candidates as
are wanted. A tile is looked at 64 scores at a time, and most of these hold none below what the line can still take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from operators.compiled import compiled

if TYPE_CHECKING:
    import torch

    from operators.teacher.codes import Codes

    Integers = npt.NDArray[np.int64]

_PLACE = np.int64(0xFFFFFFFF)
_REST = np.int32(0x7FFFFFFF)
_HALF_REST, _HALF_SIGN, _TO_FLOAT, _TO_SIGN = np.uint32(0x7FFF), np.uint32(0x8000), np.uint32(13), np.uint32(16)
_EXPONENTS = np.float32(2.0**112)  # between those of a half and of a float with the same bits


class Candidates:
    """Of ``queries`` with document numbers ``owner`` int64 [b], ``count`` of the rows of a store at last."""

    def __init__(self, queries: Codes, owner: torch.Tensor, count: int) -> None:
        self.scale, self.owner, self.count = queries.scale.numpy(), owner.numpy(), count
        self.lines = np.empty((len(queries), 2 * count), np.int64)
        self.filled = np.zeros(len(queries), np.int64)
        self.reach = np.full(len(queries), np.inf, np.float32)
        self.block = np.zeros(64 + 1, np.float32)

    def take(self, which: torch.Tensor, products: torch.Tensor, stored: Codes, owner: torch.Tensor, first: int) -> None:
        """Look at the integer ``products`` [m, n] of the queries ``which`` with the rows ``first`` to first + n."""
        of = which.numpy()
        _take(
            products.numpy(),
            of,
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
            self.block,
            self.block.view(np.int32),
        )

    def nearest(
        self, queries: torch.Tensor, keys: torch.Tensor, rows: torch.Tensor, k: int
    ) -> tuple[npt.NDArray[np.float32], Integers]:
        """The k nearest of those kept by their exact distances: squared, float32 [b, k], and their rows, int64.

        ``queries`` [b, d] and ``keys`` [n, d] are float16; ``rows`` int64 [n] names the keys, and equal distances are
        in the order of these names. Where fewer are kept, distances are infinite and rows -1.
        """
        distances = np.full((len(self.lines), k), np.inf, np.float32)
        found = np.full((len(self.lines), k), -1, np.int64)
        halves, stored = queries.float().numpy(), keys.view(_int16()).numpy().view(np.uint16)
        _nearest(halves, stored, self.lines, self.filled, self.count, rows.numpy(), distances, found)
        return distances, found


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
    block: npt.NDArray[np.float32],
    block_bits: npt.NDArray[np.int32],
) -> None:
    width, capacity = products.shape[1], lines.shape[1]
    for i in range(products.shape[0]):
        query = which[i]
        factor, own = np.float32(-2.0) * query_scale[query], query_owner[query]
        limit, kept = reach[query], filled[query]
        for begin in range(0, width, 64):
            size = min(64, width - begin)
            below = 0
            if size == 64:  # a loop of known length becomes vector instructions
                for j in range(64):
                    score = norm[begin + j] + (factor * scale[begin + j]) * np.float32(products[i, begin + j])
                    block[j] = score
                    below += score <= limit
            else:
                for j in range(size):
                    score = norm[begin + j] + (factor * scale[begin + j]) * np.float32(products[i, begin + j])
                    block[j] = score
                    below += score <= limit
            if below == 0:
                continue
            for j in range(size):
                if block[j] <= limit and owner[begin + j] != own:
                    bits = block_bits[j]
                    order = np.int64(bits ^ _REST if bits < 0 else bits)
                    lines[query, kept] = (order << 32) | np.int64(first + begin + j)
                    kept += 1
                    if kept == capacity:
                        _smallest_first(lines[query], kept, count)
                        kept = count
                        largest = np.int32(np.max(lines[query, :count]) >> 32)
                        block_bits[64] = largest ^ _REST if largest < 0 else largest
                        limit = block[64]
        filled[query], reach[query] = kept, limit


@compiled
def _nearest(
    queries: npt.NDArray[np.float32],
    stored: npt.NDArray[np.uint16],
    lines: Integers,
    filled: Integers,
    count: int,
    rows: Integers,
    distances: npt.NDArray[np.float32],
    found: Integers,
) -> None:
    width, k = queries.shape[1], found.shape[1]
    bits = np.zeros(width + 1, np.uint32)
    line = bits.view(np.float32)
    exact = np.zeros(count, np.int64)
    for query in range(queries.shape[0]):
        kept = filled[query]
        if kept > count:
            _smallest_first(lines[query], kept, count)
            kept = count
        places = np.sort(lines[query, :kept] & _PLACE)
        for t in range(kept):
            place = places[t]
            for c in range(width):
                half = np.uint32(stored[place, c])
                bits[c] = ((half & _HALF_REST) << _TO_FLOAT) | ((half & _HALF_SIGN) << _TO_SIGN)
            for c in range(width):
                gap = queries[query, c] - line[c] * _EXPONENTS
                line[c] = gap * gap
            left = width
            while left > 16 and left % 2 == 0:  # halves added to halves: vector instructions in a fixed order
                left //= 2
                for c in range(left):
                    line[c] += line[c + left]
            total = np.float32(0.0)
            for c in range(left):
                total += line[c]
            line[width] = total
            exact[t] = (np.int64(bits[width]) << 32) | rows[place]
        nearest = np.sort(exact[:kept])
        for t in range(min(kept, k)):
            bits[width] = np.uint32(nearest[t] >> 32)
            distances[query, t] = line[width]
            found[query, t] = nearest[t] & _PLACE


@compiled
def _smallest_first(line: Integers, filled: int, count: int) -> None:
    """The ``count`` smallest of ``line[:filled]`` come to its front, in no order (Hoare's selection)."""
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
