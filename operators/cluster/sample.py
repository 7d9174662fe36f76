"""The events that a tree is trained on: those of smallest draw, in whatever order they are read.

A draw is 64 bits that depend on the seed and an event's id alone. So the events of smallest draw are a random sample,
which any split of the corpus finds again: the smallest of two parts are among the smallest of each ("bottom-k", Cohen
and Kaplan 2007). Only a draw and a row number travel, 16 bytes an event, and no vector.
"""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Hashes, RowIds
from mnemic.ids import hash_parts
from mnemic.splitmix import mixed
from operators.cluster.labels import words_of

READ = 8_192
"""Events whose words make the vocabulary of labels, in the mean."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """``draws`` ascending, uint64 [n]; ``numbers`` uint64 [n] of their rows; how often words occur in some texts."""

    draws: Hashes
    numbers: RowIds
    words: collections.Counter[str]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The ``size`` events of smallest draw out of ``rows``, and the words of about 8,192: a `Reduction`.

    Batches hold ``id``, ``number`` (uint64, of the row) and ``text``, which may be null but where `reads` says so.
    """

    seed: int
    size: int
    rows: int

    def reads(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        """Places of the events whose texts are read, int64."""
        return chosen(ids, self.seed, READ, self.rows)

    def partial(self, batch: pa.RecordBatch) -> Sample:
        read = batch.column("text").take(pa.array(self.reads(batch.column("id"))))
        words = collections.Counter(word for text in read.to_pylist() for word in words_of(text))
        drawn = draws(batch.column("id"), self.seed)
        return self._smallest(drawn, batch.column("number").to_numpy(), words)

    def merge(self, one: Sample, other: Sample) -> Sample:
        drawn, numbers = np.concatenate([one.draws, other.draws]), np.concatenate([one.numbers, other.numbers])
        return self._smallest(drawn, numbers, one.words + other.words)

    def finish(self, whole: Sample) -> Sample:
        return whole

    def _smallest(self, drawn: Hashes, numbers: RowIds, words: collections.Counter[str]) -> Sample:
        order = np.argsort(drawn, kind="stable")[: self.size]
        return Sample(drawn[order], numbers[order], words)


def chosen(ids: pa.Array, seed: int, count: int, rows: int) -> npt.NDArray[np.int64]:
    """Places of the events with the smallest draws, int64: about ``count`` of a corpus of ``rows``."""
    if count >= rows:
        return np.arange(len(ids))
    return np.flatnonzero(draws(ids, seed) < np.uint64((count << 64) // rows))


def draws(ids: pa.Array, seed: int) -> Hashes:
    """A number for every id, uint64 [n], that depends on the seed and the id alone."""
    encoded = ids.cast(pa.large_binary())
    _, offsets, data = encoded.buffers()
    bounds = np.frombuffer(offsets, np.int64)[encoded.offset : encoded.offset + len(encoded) + 1]
    characters = np.frombuffer(data if data is not None else b"", np.uint8)
    lengths = np.diff(bounds)
    drawn = np.empty(len(ids), np.uint64)
    start = np.uint64(int(hash_parts("cluster", seed)[:16], 16))
    for length in np.unique(lengths).tolist():  # one, for ids that are hashes
        rows = np.flatnonzero(lengths == length)
        padded = np.zeros((len(rows), -(-length // 8) * 8), np.uint8)
        padded[:, :length] = characters[bounds[rows, None] + np.arange(length)]
        state = np.full(len(rows), start ^ np.uint64(length), np.uint64)
        for word in padded.view("<u8").T:
            state = mixed(state ^ word)
        drawn[rows] = state
    return drawn
