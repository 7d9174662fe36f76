"""Which documents share a key with another one: by sorting, or with Bloom filters where memory is short.

Both find the same, in any order of arrival. Sorting holds every key of a shard. The filters take two passes, because
one alone depends on the order: the first fills "seen", and what "seen" held already goes into "seen twice"; the second
sends every key that hits "seen twice" on. A key that stands twice always hits; a false hit of either filter only sends
on a key that turns out to stand alone, and is dropped then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Hashes, Integers, RowIds
from mnemic.compiled import compiled
from operators.deduplicate.bands import BAND_SHIFT, Bounds, by_band, keys_in
from operators.deduplicate.bloom import LARGEST, BloomFilter, bits_for, share_of_error

Runs = Callable[[], Iterator[tuple[Hashes, RowIds]]]
"""Gives the keys of a shard, band after band within each run, and the row of each; again and again."""

SHAPES = ((20, 6), (14, 8))
"""Bands and rows from wide to narrow. With an exact judge a wide one wins: of the duplicates among 111,930 technical
documents 20 x 6 found 99.98 %, 14 x 8 99.1 %; 32 x 4 found 99.99 % with 1.6 times the keys. It also takes more room."""

SEEN_ERROR, TWICE_ERROR = 1e-3, 1e-2
"""Of filters that only save memory: a false hit costs a few bytes, not an answer."""

ERROR = 1e-5
"""Of the filters that are kept, all bands together: how often a document that is new in all is looked up in vain."""

KEY_BYTES = 16
"""Of a key and its row, at rest; sorting takes twice that."""


@dataclass(frozen=True)
class Shared:
    """Keys that stand more than once, ascending, and the row of each of their documents."""

    keys: Hashes
    rows: RowIds


@dataclass(frozen=True)
class BandPlan:
    """How the shared keys are found: ``method`` "sort" or "filter", in how many shards of ``bytes`` of memory each."""

    method: str
    bands: int
    rows: int
    shards: int
    bytes: int


def plan(documents: int, memory: int, method: str, shape: tuple[int, int] | None) -> BandPlan:
    """Choose the shape (unless it is given), and so many shards that each stays within ``memory`` bytes.

    The shape is the widest whose keys fit into the memory together. One shard is sorted if it fits; else filters are
    filled, which take about a sixth, in as many shards as they need. "minhash" always sorts, "lshbloom" never does.
    The filters that are kept for later runs count too, and none of them may have more than 2^32 bits.
    """
    documents = max(documents, 1)
    if shape is None:
        shape = next((one for one in SHAPES if KEY_BYTES * (1 + one[0]) * documents <= memory), SHAPES[-1])
    bands, rows = (0, 0) if method == "exact" else shape
    kept = bits_for(documents, share_of_error(ERROR, 1 + bands))
    fewest = 1 if 1.01 * kept <= LARGEST else math.ceil(1.01 * kept * (1 + bands) / LARGEST)
    sorting = (1 + bands) * (2 * KEY_BYTES * documents + kept // 8)
    passes = bits_for(documents, SEEN_ERROR) + bits_for(-(-documents // 2), TWICE_ERROR)
    filters = (1 + bands) * (passes + kept) // 8
    if method in ("exact", "minhash") or (method == "auto" and sorting <= memory):
        shards = max(fewest, -(-sorting // memory))
        return BandPlan("sort", bands, rows, shards, sorting // shards)
    shards = max(fewest, -(-filters // memory))
    return BandPlan("filter", bands, rows, shards, filters // shards)


def shared_keys(runs: Runs, bounds: Bounds, method: str, documents: int) -> Shared:
    """The keys of the range ``bounds`` that more than one of ``documents`` have."""
    if method == "filter":
        return standing_twice(*_hits_of_filters(runs, bounds, documents))
    parts: dict[int, list[tuple[Hashes, RowIds]]] = {}
    for keys, rows in runs():
        for band, part in by_band(keys):
            parts.setdefault(band, []).append((keys[part], rows[part]))
    found = [standing_twice(*joined(iter(parts.pop(band)))) for band in sorted(parts)]
    return Shared(*joined((one.keys, one.rows) for one in found))


def shared_with_earlier(
    new: tuple[Hashes, RowIds], seen: Callable[[Hashes], npt.NDArray[np.bool_]], earlier: Runs
) -> Shared:
    """The keys of ``new`` documents (in any order) that another of them has, or one of the ``earlier`` runs.

    ``earlier`` runs are ascending. ``seen`` says of ascending keys which may be in them; without a
    hit they are not read.
    """
    order = np.argsort(new[0])
    keys, rows = new[0][order], new[1][order]
    distinct = np.unique(keys)
    hits = distinct[seen(distinct)]
    found = []
    for theirs, owners in earlier() if len(hits) else ():
        first, last = np.searchsorted(theirs, hits, "left"), np.searchsorted(theirs, hits, "right")
        places = np.repeat(first, last - first) + _ramp(last - first)
        found.append((theirs[places], owners[places]))
    old_keys, old_rows = joined(iter(found))
    old = np.unique(old_keys)
    wanted = np.isin(keys, old) if len(old) else np.zeros(len(keys), np.bool_)
    same = np.zeros(len(keys) + 1, np.bool_)
    if len(keys):
        np.equal(keys[1:], keys[:-1], out=same[1:-1])
    wanted |= same[1:] | same[:-1]
    every = np.concatenate([keys[wanted], old_keys])
    order = np.argsort(every)
    return Shared(every[order], np.concatenate([rows[wanted], old_rows])[order])


def _ramp(sizes: Integers) -> Integers:
    """0, 1, ... for every size."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - np.repeat(starts, sizes)


def joined(runs: Iterator[tuple[Hashes, RowIds]]) -> tuple[Hashes, RowIds]:
    """All runs one after another."""
    keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for some, theirs in runs:
        keys.append(some)
        rows.append(theirs)
    return np.concatenate(keys), np.concatenate(rows)


def standing_twice(keys: Hashes, rows: RowIds) -> Shared:
    """Of keys in any order, those that stand more than once."""
    order = np.argsort(keys)
    keys = keys[order]
    same = np.zeros(len(keys) + 1, np.bool_)
    if len(keys):
        np.equal(keys[1:], keys[:-1], out=same[1:-1])
    repeated = same[1:] | same[:-1]
    return Shared(keys[repeated], rows[order[repeated]])


def room_for(documents: int, bounds: Bounds) -> int:
    """How many keys of one band a shard may get: they spread evenly over the ranges, give or take."""
    share = min(documents, -(-documents * keys_in(bounds) // (1 << BAND_SHIFT)))
    return int(share + 10 * share**0.5 + 64)


def _hits_of_filters(runs: Runs, bounds: Bounds, documents: int) -> tuple[Hashes, RowIds]:
    room = room_for(documents, bounds)
    seen: dict[int, BloomFilter] = {}
    twice: dict[int, BloomFilter] = {}
    for keys, _ in runs():
        for band, part in by_band(keys):
            if band not in seen:
                seen[band], twice[band] = BloomFilter(room, SEEN_ERROR), BloomFilter(room // 2 + 1, TWICE_ERROR)
            twice[band].add(keys[part][seen[band].add(keys[part])])
    return joined(
        (keys[part][hits], rows[part][hits])
        for keys, rows in runs()
        for band, part in by_band(keys)
        for hits in [twice[band].contains(keys[part])]
    )


class Components:
    """Documents linked by shared keys: union-find over the rows that share any, 24 bytes each."""

    def __init__(self, rows: Iterable[RowIds]) -> None:
        """Of the rows of several shards, each of which may come again and again."""
        self.rows = np.empty(0, np.uint64)
        for some in rows:
            self.rows = np.union1d(self.rows, some)
        self._parent = np.arange(len(self.rows))

    def link(self, shared: Shared) -> None:
        """Link the documents that share these keys."""
        _link(shared.keys, np.searchsorted(self.rows, shared.rows), self._parent)

    def packs(self, size: int) -> Integers:
        """The pack of every row: whole components, in the order of their first rows, about ``size`` rows a pack."""
        _, label, counts = np.unique(_roots(self._parent), return_inverse=True, return_counts=True)
        before = np.cumsum(counts) - counts
        number: Integers = np.unique(before // max(size, 1), return_inverse=True)[1][label]
        return number


def divided(shared: Shared, rows: RowIds, pack: Integers) -> list[tuple[int, Shared]]:
    """The part of ``shared`` that is each pack's, where ``pack`` says it of every one of ``rows``."""
    number = pack[np.searchsorted(rows, shared.rows)]
    order = np.argsort(number, kind="stable")
    cuts = np.flatnonzero(np.diff(number[order])) + 1
    parts = np.split(order, cuts) if len(order) else []
    return [(int(number[part[0]]), Shared(shared.keys[part], shared.rows[part])) for part in parts]


@compiled
def _link(keys: Any, members: Any, parent: Any) -> None:
    """Union by smallest member, with path halving."""
    for i in range(1, len(keys)):
        if keys[i] != keys[i - 1]:
            continue
        one, other = members[i - 1], members[i]
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        while parent[other] != other:
            parent[other] = parent[parent[other]]
            other = parent[other]
        parent[max(one, other)] = min(one, other)


@compiled
def _roots(parent: Any) -> Any:
    """The smallest member of every component; a parent is never larger than its child."""
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]
    return parent
