"""Which documents an index must not have where it is measured: those held out, and those that contain one of them.

A file that stands in a longer one has a small Jaccard similarity to it, so the leak check of the datastore, which asks
for that, lets the longer one pass; an index would then answer with the very text. So a document that holds half of the
distinct word 5-grams of a held-out one is left out too, and so is every document of a held-out collection.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mnemic.kept import KEPT
from mnemic.splitmix import mixed
from mnemic.splits import HELD_OUT
from mnemic.view import View

CONTAINED = 0.5
"""Share of a held-out document's 5-grams from which on a document that has them is left out."""

_WORDS = 5
_WORD = re.compile(r"\w+")
_CHARACTERS = 1 << 20  # of texts that are compared at once
_PAIRS = 1 << 22  # of a 5-gram and a held-out document that has it, at once

Hashes = NDArray[np.uint64]


def left_out(view: View) -> frozenset[str]:
    """Ids of the documents that are not in the index that is measured: held out, of their collections, or a leak."""
    held_out = view.table("documents", ["id", "text", "split", "collection"], f"{KEPT} AND split <> ''")
    held_out = held_out.filter([split in HELD_OUT for split in held_out["split"].to_pylist()])
    whole = {
        collection
        for split, collection in zip(held_out["split"].to_pylist(), held_out["collection"].to_pylist(), strict=True)
        if split.endswith("-collection")
    }
    ids, others = set(held_out["id"].to_pylist()), list[tuple[str, str]]()
    grams = _Grams.of(held_out["text"].to_pylist())
    leaks, size = set[str](), 0
    for batch in view.dataset("documents").scan(["id", "text", "collection"], KEPT, batch_size=256):
        for id, text, collection in zip(*(batch[name].to_pylist() for name in batch.schema.names), strict=True):
            if collection in whole:
                leaks.add(id)
            elif id not in ids:
                others.append((id, text))
                size += len(text)
        if size >= _CHARACTERS:
            leaks |= grams.contained_in(others)
            others, size = [], 0
    return frozenset(ids | leaks | grams.contained_in(others))


class _Grams:
    """The distinct 5-grams of some documents: ``hashes`` ascending, the number of the document that has each."""

    def __init__(self, hashes: Hashes, owner: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.owner, self.sizes = hashes[order], owner[order], sizes

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Grams:
        sets = [grams(text) for text in texts]
        sizes = np.array([len(one) for one in sets], np.int64)
        return cls(np.concatenate([*sets, np.empty(0, np.uint64)]), np.repeat(np.arange(len(sets)), sizes), sizes)

    def contained_in(self, documents: Iterable[tuple[str, str]], share: float = CONTAINED) -> set[str]:
        """Ids of those of ``documents`` (id, text) that have at least ``share`` of the 5-grams of one of these."""
        named = list(documents)
        sets = [grams(text) for _, text in named]
        if not len(self.hashes) or not sets:
            return set()
        number = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
        hashes = np.concatenate(sets)
        counts = np.zeros((0,), np.int64), np.zeros((0,), np.int64)
        for numbers, owners in self._meetings(hashes, number):
            pair, count = np.unique(numbers * len(self.sizes) + owners, return_counts=True)
            counts = np.concatenate([counts[0], pair]), np.concatenate([counts[1], count])
        pair, place = np.unique(counts[0], return_inverse=True)
        total = np.bincount(place, counts[1], len(pair))
        leaks = total >= share * self.sizes[pair % len(self.sizes)]
        return {named[document][0] for document in np.unique(pair[leaks] // len(self.sizes))}

    def _meetings(
        self, hashes: Hashes, number: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Documents by ``number`` and those of here that share a 5-gram of ``hashes``, once for each such 5-gram."""
        first = np.searchsorted(self.hashes, hashes, "left")
        width = np.searchsorted(self.hashes, hashes, "right") - first
        shared = np.flatnonzero(width)
        ends = np.cumsum(width[shared])
        start = 0
        while start < len(shared):
            done = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, "right")))
            rows = shared[start:stop]
            places = np.repeat(first[rows] - (ends[start:stop] - width[rows]), width[rows]) + np.arange(
                done, ends[stop - 1]
            )
            yield np.repeat(number[rows], width[rows]), self.owner[places]
            start = stop


def grams(text: str) -> Hashes:
    """Hashes of the distinct word 5-grams of ``text`` in lower case, uint64 ascending; fewer words have none."""
    words = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text.lower())], np.uint64)
    count = len(words) - _WORDS + 1
    if count < 1:
        return np.empty(0, np.uint64)
    hashes = np.zeros(count, np.uint64)
    for offset in range(_WORDS):
        hashes = mixed(hashes ^ words[offset : offset + count])
    return np.unique(hashes)
