"""Sets of keys of rows that a process can hold for a large corpus: 16 bytes a key, where a Python set takes hundreds.

A key is known by a 128-bit hash of its values, the one of `pipelines.corpus_reader`, so two keys count as one with a
chance of 1 in 10^20 among 10^9 keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Flags
from pipelines.corpus_reader import key_hashes

_MERGED = 1 << 20
"""Keys that wait before they are sorted in among the others."""

Keys = npt.NDArray[np.bytes_]
"""Hashes of keys, S16 [n]."""


class KeySet:
    """The distinct keys of batches: their hashes, ascending. Columns count by their order, not by their names."""

    def __init__(self, batches: Iterable[pa.RecordBatch] = (), hashes: Keys | None = None) -> None:
        self._hashes: Keys = np.empty(0, "S16") if hashes is None else hashes
        waiting, count = list[Keys](), 0
        for batch in batches:
            waiting.append(_hashes(batch))
            count += batch.num_rows
            if count >= _MERGED:
                self._hashes, waiting, count = _distinct([self._hashes, *waiting]), [], 0
        if waiting:
            self._hashes = _distinct([self._hashes, *waiting])

    def __len__(self) -> int:
        return len(self._hashes)

    def __or__(self, other: KeySet) -> KeySet:
        return KeySet(hashes=_distinct([self._hashes, other._hashes]) if len(other) else self._hashes)

    def __sub__(self, other: KeySet) -> KeySet:
        return KeySet(hashes=self._hashes[~_within(self._hashes, other._hashes)])

    def has(self, batch: pa.RecordBatch) -> Flags:
        """Which rows of ``batch`` have a key of the set, bool [rows]."""
        return _within(_hashes(batch), self._hashes)


def _hashes(batch: pa.RecordBatch) -> Keys:
    keys: Keys = np.ascontiguousarray(key_hashes(batch)).view("S16").reshape(-1)
    return keys


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
