"""The n-grams of all questions in a hash table, and the places of documents that have one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.arrays import Hashes, Integers
from mnemic.compiled import compiled
from operators.contamination.normalise import Words
from operators.contamination.sets import SetQuestion
from operators.measure.codepoints import ONE
from operators.measure.ngrams import room

MOST_OWNERS = 64
"""Questions that are told of one n-gram; a phrase that more have says nothing about any of them."""


@dataclass(frozen=True)
class QuestionMatch:
    """Characters [start, end) of a document stand in question number ``question``."""

    start: int
    end: int
    question: int
    share: float  # of the n-grams of the question that stand in the document


class QuestionTable:
    """Questions by their n-grams of ``ngram`` words; shorter ones, of ``shortest`` words or more, are one n-gram."""

    def __init__(self, questions: Sequence[SetQuestion], ngram: int, shortest: int) -> None:
        self._words = Words()
        texts = pa.array([question.text for question in questions], pa.large_string())
        by_size: dict[int, list[tuple[Hashes, int]]] = {}
        self._totals = np.zeros(max(len(questions), 1), np.int64)
        for number, (hashes, _) in enumerate(self._words.of(texts)):
            size = min(ngram, len(hashes))
            if size >= shortest:
                grams = np.unique(self._words.grams(hashes, size))
                self._totals[number] = len(grams)
                by_size.setdefault(size, []).append((grams, number))
        self._tables = {size: _table(parts) for size, parts in sorted(by_size.items())}

    def matches(self, texts: pa.Array) -> list[list[QuestionMatch]]:
        """Of each text the spans that stand in questions, by start, end and question."""
        return [self._of(hashes, bounds) for hashes, bounds in self._words.of(texts)]

    def _of(self, hashes: Hashes, bounds: NDArray[np.int32]) -> list[QuestionMatch]:
        parts = []
        for size, (keys, places, owners_start, owners) in self._tables.items():
            grams = self._words.grams(hashes, size)
            firsts, entries = _hits(grams, keys, places)
            if not len(firsts):
                continue
            counts = owners_start[entries + 1] - owners_start[entries]
            every = np.repeat(owners_start[entries] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            places_of = np.repeat(firsts, counts)
            parts.append(np.stack([owners[every], places_of, places_of + size, np.repeat(entries, counts)], axis=1))
        if not parts:
            return []
        rows = np.concatenate(parts)
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        return self._joined(rows, bounds)

    def _joined(self, rows: Integers, bounds: NDArray[np.int32]) -> list[QuestionMatch]:
        """Matches of rows (question, first word, end word, n-gram), in order: overlapping ones are one span."""
        grams = np.unique(rows[:, [0, 3]], axis=0)
        present = np.bincount(grams[:, 0], minlength=len(self._totals))
        same = (rows[1:, 0] == rows[:-1, 0]) & (rows[1:, 1] <= rows[:-1, 2])  # of one question all have one size
        begins = np.flatnonzero(np.concatenate([[True], ~same]))
        ends = np.concatenate([begins[1:], [len(rows)]]) - 1
        matches = [
            QuestionMatch(
                int(bounds[rows[first, 1], 0]),
                int(bounds[rows[last, 2] - 1, 1]),
                int(rows[first, 0]),
                float(present[rows[first, 0]] / self._totals[rows[first, 0]]),
            )
            for first, last in zip(begins.tolist(), ends.tolist(), strict=True)
        ]
        return sorted(matches, key=lambda match: (match.start, match.end, match.question))


def _table(parts: Sequence[tuple[Hashes, int]]) -> tuple[Hashes, NDArray[np.int32], Integers, Integers]:
    """(keys, their entry, where the owners of each entry begin, owners)."""
    grams = np.concatenate([one for one, _ in parts])
    owners = np.repeat([number for _, number in parts], [len(one) for one, _ in parts]).astype(np.int64)
    order = np.lexsort((owners, grams))
    distinct, starts, counts = np.unique(grams[order], return_index=True, return_counts=True)
    ranks = np.arange(len(order)) - np.repeat(starts, counts)
    few = ranks < MOST_OWNERS
    begins = np.concatenate([[0], np.cumsum(np.minimum(counts, MOST_OWNERS))])
    size = room(len(distinct))
    keys, places = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    _put(distinct, keys, places)
    return keys, places, begins, owners[order][few]


@compiled
def _put(distinct: Any, keys: Any, places: Any) -> None:
    mask = np.uint64(keys.shape[0] - 1)
    for number in range(distinct.shape[0]):
        key = distinct[number] | ONE
        place = key & mask
        while keys[place] != np.uint64(0) and keys[place] != key:
            place = (place + ONE) & mask
        keys[place] = key
        places[place] = number


@compiled
def _hits(grams: Any, keys: Any, places: Any) -> tuple[Any, Any]:
    """Positions of ``grams`` that are keys, and their entries, int64 [n] each."""
    mask = np.uint64(keys.shape[0] - 1)
    firsts, entries = np.empty(grams.shape[0], np.int64), np.empty(grams.shape[0], np.int64)
    count = 0
    for first in range(grams.shape[0]):
        key = grams[first] | ONE
        place = key & mask
        while keys[place] != np.uint64(0) and keys[place] != key:
            place = (place + ONE) & mask
        if keys[place] == key:
            firsts[count], entries[count] = first, places[place]
            count += 1
    return firsts[:count], entries[:count]
