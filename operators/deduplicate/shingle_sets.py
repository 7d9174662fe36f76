"""Shingle sets of documents, read when they are needed, and the exact similarity of two of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Hashes, Integers
from mnemic.compiled import compiled
from operators.deduplicate.shingles import Shingler, slices

_TEXTS = 256
"""Texts read at once."""

_MOST_HASHES = 4_000_000
"""32 MB of shingle sets stay in memory between the chunks, and as many again are copied for one chunk."""


class ShingleSets:
    """Shingle sets of documents, by number, read when needed; the least recently used are dropped.

    ``read`` gives the texts of documents as one Arrow array, in the order of its argument.
    """

    def __init__(
        self, read: Callable[[Sequence[int]], pa.Array], tokenizer: Shingler, most_hashes: int = _MOST_HASHES
    ) -> None:
        self._read, self._tokenizer, self.capacity = read, tokenizer, most_hashes
        self._sets: OrderedDict[int, Hashes] = OrderedDict()
        self._hashes = 0

    def fetch(self, documents: Sequence[int]) -> list[Hashes]:
        """The sets of these documents, in order: distinct hashes, uint64 [n], in the order of first occurrence."""
        sets_of = {document: self._sets[document] for document in documents if document in self._sets}
        missing = sorted(set(documents) - sets_of.keys())
        for start in range(0, len(missing), _TEXTS):
            part = missing[start : start + _TEXTS]
            # Copies, since each is otherwise part of one array that stays as long as any of them.
            sets = [hashes.copy() for texts in slices(self._read(part)) for hashes in self._tokenizer.distinct(texts)]
            sets_of.update(zip(part, sets, strict=True))
        for document in documents:
            if document not in self._sets:
                self._sets[document] = sets_of[document]
                self._hashes += len(sets_of[document])
            self._sets.move_to_end(document)
        while self._hashes > self.capacity and self._sets:
            self._hashes -= len(self._sets.popitem(last=False)[1])
        return [sets_of[document] for document in documents]


def flattened(sets: list[Hashes]) -> tuple[Hashes, Integers]:
    """The sets one after another, uint64 [n], and the bounds of each, int64 [sets + 1]."""
    sizes = np.array([len(hashes) for hashes in sets], np.int64)
    return np.concatenate([np.empty(0, np.uint64), *sets]), np.concatenate([[0], np.cumsum(sizes)])


def jaccard(one: Hashes, many: Sequence[Hashes]) -> npt.NDArray[np.float64]:
    """Exact Jaccard similarity of a set of distinct hashes to each of ``many``: float64 [many]; 0 of two empty sets."""
    similarities: npt.NDArray[np.float64] = _similarities(*flattened([one, *many]))
    return similarities


@compiled
def enter(flat: Any, start: int, end: int, table: Any) -> Any:
    """Enter distinct hashes into an empty table, of zeros; returns a table that is large enough."""
    while len(table) < 2 * (end - start):
        table = np.zeros(2 * len(table), np.uint64)
    mask = np.uint64(len(table) - 1)
    for i in range(start, end):
        place = flat[i] & mask
        while table[place] != 0:
            place = (place + np.uint64(1)) & mask
        table[place] = flat[i]
    return table


@compiled
def common_in(flat: Any, start: int, end: int, table: Any) -> int:
    mask = np.uint64(len(table) - 1)
    common = 0
    for i in range(start, end):
        value = flat[i]
        place = value & mask
        while table[place] != 0 and table[place] != value:
            place = (place + np.uint64(1)) & mask
        common += table[place] == value
    return common


@compiled
def _similarities(flat: Any, bounds: Any) -> Any:
    """The similarity of set 0 to each of the others: float64 [sets - 1]."""
    table = enter(flat, bounds[0], bounds[1], np.zeros(1024, np.uint64))
    similarities = np.zeros(len(bounds) - 2, np.float64)
    for other in range(1, len(bounds) - 1):
        common = common_in(flat, bounds[other], bounds[other + 1], table)
        union = bounds[1] - bounds[0] + bounds[other + 1] - bounds[other] - common
        if union:
            similarities[other - 1] = common / union
    return similarities
