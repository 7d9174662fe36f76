"""Sets of keys of rows that a process can hold for a large corpus: 16 bytes a key, where a Python set takes hundreds.

A key is known by a 128-bit hash of its values, the one of `pipelines.corpus_reader`, so two keys count as one with a
chance of 1 in 10^20 among 10^9 keys. Large sets lie in files without names (`pipelines.spill`), and are joined a range
of hashes at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Flags
from pipelines.corpus_reader import key_hashes
from pipelines.spill import Appended

_MERGED = 1 << 20
"""Keys that are sorted at a time."""

_IN_MEMORY = 64 << 20
"""Bytes of the keys of a set up to which it has no file."""

Keys = npt.NDArray[np.bytes_]
"""Hashes of keys, S16 [n]."""


class KeySet:
    """The distinct keys of batches: their hashes, ascending. Columns count by their order, not by their names."""

    def __init__(self, batches: Iterable[pa.RecordBatch] = (), hashes: Keys | None = None) -> None:
        self._hashes: Keys = _merged(_runs(batches)) if hashes is None else hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def __or__(self, other: KeySet) -> KeySet:
        return KeySet(hashes=_merged([self._hashes, other._hashes]) if len(other) else self._hashes)

    def __sub__(self, other: KeySet) -> KeySet:
        if not len(other):
            return self
        left = _appended()
        for start in range(0, len(self), _MERGED):
            keys = self._hashes[start : start + _MERGED]
            left.append(keys[~_within(keys, other._hashes)])
        return KeySet(hashes=left.array())

    def has(self, batch: pa.RecordBatch) -> Flags:
        """Which rows of ``batch`` have a key of the set, bool [rows]."""
        return _within(_hashes(batch), self._hashes)


def _hashes(batch: pa.RecordBatch) -> Keys:
    keys: Keys = np.ascontiguousarray(key_hashes(batch)).view("S16").reshape(-1)
    return keys


def _appended() -> Appended:
    return Appended("S16", in_memory=_IN_MEMORY)


def _runs(batches: Iterable[pa.RecordBatch]) -> list[Keys]:
    """The keys of all batches as runs, each ascending and without repetition."""
    keys, ends = _appended(), [0]
    for waiting in _together(_hashes(batch) for batch in batches):
        keys.append(_distinct(waiting))
        ends.append(len(keys))
    whole = keys.array()
    return [whole[begin:end] for begin, end in itertools.pairwise(ends)]


def _together(parts: Iterable[Keys]) -> Iterator[list[Keys]]:
    """``parts``, so many at a time that they have `_MERGED` keys."""
    waiting, count = list[Keys](), 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= _MERGED:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


def _merged(runs: Sequence[Keys]) -> Keys:
    """The keys of all runs, each once, ascending. Hashes spread evenly, so equal ranges of them have equally many."""
    if len(runs) == 1:
        return runs[0]
    ranges = -(-sum(map(len, runs)) // _MERGED)
    bounds = np.array([(number << 64) // max(ranges, 1) for number in range(1, ranges)], ">u8").view("S8").astype("S16")
    cuts = [[0, *np.searchsorted(run, bounds).tolist(), len(run)] for run in runs]
    merged = _appended()
    for number in range(ranges):
        merged.append(_distinct([run[cut[number] : cut[number + 1]] for run, cut in zip(runs, cuts, strict=True)]))
    return merged.array()


def _distinct(parts: Sequence[Keys]) -> Keys:
    """The keys of all parts, each once, ascending; `numpy.unique` would import numpy.ma, 9 ms of every plan."""
    keys = np.sort(np.concatenate(parts))
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first]


def _within(keys: Keys, ascending: Keys) -> Flags:
    if len(ascending) == 0:
        return np.zeros(len(keys), np.bool_)
    places = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    within: Flags = ascending[places] == keys
    return within
