"""Tokens of documents on the way into a shard: taken from lists or from other shards, and put into one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.compiled import can_compile, compiled
from mnemic.suffixes.construct import sorted_places
from mnemic.suffixes.shard import Shard, separator_of

_AT_ONCE = 1 << 20
"""Tokens that are put into another order at once; each takes 16 bytes meanwhile."""


@dataclass(frozen=True)
class Documents:
    """``tokens``: uint16 or uint32 [n], the separator behind each document. ``sizes``: int64, with the separator.

    ``ids``: string, one a document.
    """

    tokens: NDArray[Any]
    sizes: NDArray[np.int64]
    ids: pa.Array

    @classmethod
    def of_lists(cls, ids: pa.Array | pa.ChunkedArray, lists: pa.Array | pa.ChunkedArray) -> Documents:
        """Of documents whose tokens are lists."""
        lengths = pc.list_value_length(lists).to_numpy().astype(np.int64)
        values = _one(pc.list_flatten(lists)).to_numpy(zero_copy_only=False)
        ends, separator = np.cumsum(lengths), separator_of(values.dtype)
        if can_compile():
            tokens = np.empty(len(values) + len(lengths), values.dtype)
            _separate(values, ends, separator, tokens)
        else:
            tokens = np.insert(values, ends, np.array(separator, values.dtype))
        return cls(tokens, lengths + 1, _one(ids))

    @classmethod
    def of_shard(cls, shard: Shard) -> Documents:
        """Those of a shard, in its order."""
        return cls(shard.tokens, np.diff(np.append(shard.offsets, len(shard.tokens))), shard.documents)

    def without(self, numbers: Sequence[int]) -> Documents:
        """All but those with these ``numbers``."""
        if not len(numbers):
            return self
        stay = np.ones(len(self.sizes), np.bool_)
        stay[list(numbers)] = False
        return Documents(self.tokens[np.repeat(stay, self.sizes)], self.sizes[stay], self.ids.filter(pa.array(stay)))

    def indexed(self, tenant: str) -> Shard:
        """The shard of these documents."""
        places = sorted_places(self.tokens, separator_of(self.tokens.dtype))
        return Shard(self.tokens, places, np.cumsum(self.sizes) - self.sizes, self.ids, tenant)


def joined(parts: Sequence[Documents]) -> Documents:
    """The documents of all ``parts``, at least one, by ascending id."""
    tokens = parts[0].tokens if len(parts) == 1 else np.concatenate([part.tokens for part in parts])
    sizes = np.concatenate([part.sizes for part in parts])
    ids = pa.concat_arrays([part.ids for part in parts])
    order = pc.sort_indices(ids).to_numpy().astype(np.int64)
    if np.array_equal(order, np.arange(len(order))):
        return Documents(tokens, sizes, ids)
    starts, ends = (np.cumsum(sizes) - sizes)[order], np.cumsum(sizes[order])
    sizes = sizes[order]
    ordered, first = np.empty_like(tokens), 0
    while first < len(sizes):
        begin = ends[first] - sizes[first]
        last = max(first + 1, int(np.searchsorted(ends, begin + _AT_ONCE, side="right")))
        within = np.arange(begin, ends[last - 1]) - np.repeat(ends[first:last] - sizes[first:last], sizes[first:last])
        ordered[begin : ends[last - 1]] = tokens[within + np.repeat(starts[first:last], sizes[first:last])]
        first = last
    return Documents(ordered, sizes, ids.take(pa.array(order)))


@compiled
def _separate(values: Any, ends: Any, separator: int, tokens: Any) -> None:
    """Write documents that end at ``ends`` of ``values`` into ``tokens``, the separator behind each."""
    begin = 0
    for document in range(len(ends)):
        end = ends[document]
        tokens[begin + document : end + document] = values[begin:end]
        tokens[end + document] = separator
        begin = end


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
