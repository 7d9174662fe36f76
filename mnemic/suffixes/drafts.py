"""Drafts from a suffix index: how the text went on where the last tokens stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Integers
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import SuffixIndex

_PLACES = 64
"""Places that are looked at, evenly spaced among more."""

_SURE = 0.3
"""Share of the places that a draft must have for itself as far as it goes."""


@dataclass(frozen=True)
class SuffixDrafts:
    """Continuations of the longest match of ``least`` tokens or more: at each step the most frequent next token."""

    index: SuffixIndex
    least: int = 3

    def __deepcopy__(self, memo: dict[int, object]) -> SuffixDrafts:
        return self  # an index never changes

    def draft(self, ids: Integers, most: int) -> Integers:
        """Up to ``most`` tokens, int64, after the text ``ids`` int64 [n]; of several equally frequent ones the first
        by id. It ends with a document, and where fewer than `_SURE` of the places agree.
        """
        matches = self.index.matches(Contexts.of([ids]))
        total = int(matches.counts[0, 0])
        if int(matches.lengths[0, 0]) < self.least or not total:
            return np.empty(0, np.int64)
        stride = -(-total // _PLACES)
        following = [
            _behind(shard.tokens, shard.places[first[0, 0] : last[0, 0] : stride], most, shard.separator)
            for shard, first, last in zip(self.index.shards, matches.firsts, matches.lasts, strict=True)
        ]
        rows = np.concatenate(following)
        draft, places = list[int](), len(rows)
        for step in range(most):
            tokens, counts = np.unique(rows[rows[:, step] >= 0, step], return_counts=True)
            if not len(tokens) or counts.max() < _SURE * places:
                break
            draft.append(int(tokens[np.argmax(counts)]))
            rows = rows[rows[:, step] == draft[-1]]
        return np.array(draft, np.int64)


def _behind(tokens: NDArray[Any], places: NDArray[np.int32], most: int, separator: int) -> Integers:
    """The ``most`` tokens at and behind each place, int64 [places, most]; -1 from the end of the document on."""
    numbers = places.astype(np.int64)[:, None] + np.arange(most)
    rows = tokens[np.minimum(numbers, len(tokens) - 1)].astype(np.int64)
    return np.where(np.logical_or.accumulate(rows == separator, axis=1), -1, rows)
