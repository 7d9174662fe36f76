"""The documents that share a key with another one: by sorting, or with Bloom filters where memory is short.

Both give the same result, in any order of arrival. Sorting holds every key of a shard. The filters take two passes,
because one alone depends on the order. The first pass fills "seen", and a key that "seen" had already goes into "seen
twice". The second pass sends on every key that hits "seen twice". A key that stands twice always hits; a false hit of
either filter only sends on a key that turns out to stand once, and is dropped then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Hashes, Integers, RowIds
from mnemic.compiled import compiled
from operators.deduplicate.bands import BAND_SHIFT, Bounds, by_band, keys_in
from operators.deduplicate.bloom import LARGEST, BloomFilter, bits_for, share_of_error

Runs = Callable[[], Iterator[tuple[Hashes, RowIds]]]
"""Gives the keys of a shard, uint64 [n], band after band in each run, and their rows, uint64 [n]; at every call."""

SHAPES = ((20, 6), (14, 8))
"""Bands and rows from wide to narrow. With an exact judge a wide one wins: of the duplicates among 111,930 technical
documents 20 x 6 found 99.98 %, 14 x 8 99.1 %; 32 x 4 found 99.99 % with 1.6 times the keys. It also takes more room."""

SEEN_ERROR, TWICE_ERROR = 1e-3, 1e-2
"""Of filters that only save memory: a false hit costs a few bytes, not an answer."""

ERROR = 1e-5
"""Of the stored filters, all bands together: the share of new documents that are looked up in vain."""

KEY_BYTES = 16
"""Of a key and its row, at rest; sorting takes twice that."""


@dataclass(frozen=True)
class Shared:
    """Keys that stand more than once, uint64 [n], ascending, and the rows of their documents, uint64 [n]."""

    keys: Hashes
    rows: RowIds


@dataclass(frozen=True)
class BandPlan:
    """The search for shared keys: ``method`` "sort" or "filter", ``shards``, and the ``bytes`` of memory of each."""

    method: str
    bands: int
    rows: int
    shards: int
    bytes: int


def plan(documents: int, memory: int, method: str, shape: tuple[int, int] | None) -> BandPlan:
    """Choose ``shape`` unless it is set, and so many shards that each stays within ``memory`` bytes.

    The shape is the widest whose keys fit into the memory together. One shard is sorted if it fits; else filters are
    filled, which take about a sixth, in as many shards as they need. "minhash" always sorts, "lshbloom" never does.
    The filters that later runs read count too, and none of them may have more than 2^32 bits.
    """
    documents = max(documents, 1)
    if shape is None:
        shape = next((one for one in SHAPES if KEY_BYTES * (1 + one[0]) * documents <= memory), SHAPES[-1])
    bands, rows = (0, 0) if method == "exact" else shape
    stored = bits_for(documents, share_of_error(ERROR, 1 + bands))
    fewest = 1 if 1.01 * stored <= LARGEST else math.ceil(1.01 * stored * (1 + bands) / LARGEST)
    sorting = (1 + bands) * (2 * KEY_BYTES * documents + stored // 8)
    passes = bits_for(documents, SEEN_ERROR) + bits_for(-(-documents // 2), TWICE_ERROR)
    filters = (1 + bands) * (passes + stored) // 8
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
    shared = [standing_twice(*concatenated(iter(parts.pop(band)))) for band in sorted(parts)]
    return Shared(*concatenated((one.keys, one.rows) for one in shared))


def shared_with_earlier(
    new: tuple[Hashes, RowIds], seen: Callable[[Hashes], npt.NDArray[np.bool_]], earlier: Runs
) -> Shared:
    """The keys of ``new`` documents (in any order) that another of them has, or one of the ``earlier`` runs.

    ``new`` are keys and rows, uint64 [n] each. ``earlier`` runs are ascending. ``seen`` flags ascending keys that may
    be in them; without a hit no run is read.
    """
    order = np.argsort(new[0])
    keys, rows = new[0][order], new[1][order]
    first_of_key = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=first_of_key[1:])
    distinct = keys[first_of_key]
    flagged = np.flatnonzero(seen(distinct))
    hits, is_earlier = distinct[flagged], np.zeros(len(distinct), np.bool_)
    matches = []
    for theirs, owners in earlier() if len(hits) else ():
        first = np.searchsorted(theirs, hits)
        counts = _run_lengths(theirs, hits, first)
        is_earlier[flagged[counts > 0]] = True
        places = np.repeat(first, counts) + _ramp(counts)
        matches.append((theirs[places], owners[places]))
    old_keys, old_rows = concatenated(iter(matches))
    chosen = is_earlier[np.cumsum(first_of_key) - 1] | ~first_of_key
    chosen[:-1] |= ~first_of_key[1:]
    every = np.concatenate([keys[chosen], old_keys])
    order = np.argsort(every)
    return Shared(every[order], np.concatenate([rows[chosen], old_rows])[order])


@compiled
def _run_lengths(keys: Hashes, sought: Hashes, first: Integers) -> Integers:
    """How many of ``keys`` uint64 [n], ascending, are ``sought`` uint64 [m], from ``first`` int64 [m] on: int64 [m].

    A second binary search for the end of each run would read as much memory again.
    """
    counts = np.zeros(len(sought), np.int64)
    for number in range(len(sought)):
        at = first[number]
        while at < len(keys) and keys[at] == sought[number]:
            at += 1
        counts[number] = at - first[number]
    return counts


def _ramp(sizes: Integers) -> Integers:
    """0, 1, ... size - 1 for every one of ``sizes`` int64 [n]: int64 [sum]."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - np.repeat(starts, sizes)


def concatenated(runs: Iterator[tuple[Hashes, RowIds]]) -> tuple[Hashes, RowIds]:
    """The keys and rows of all runs, one after another: uint64 [n] each."""
    keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for some, theirs in runs:
        keys.append(some)
        rows.append(theirs)
    return np.concatenate(keys), np.concatenate(rows)


def standing_twice(keys: Hashes, rows: RowIds) -> Shared:
    """Those of ``keys`` uint64 [n], in any order, that stand more than once, with their ``rows``."""
    order = np.argsort(keys)
    keys = keys[order]
    same = np.zeros(len(keys) + 1, np.bool_)
    if len(keys):
        np.equal(keys[1:], keys[:-1], out=same[1:-1])
    repeated = same[1:] | same[:-1]
    return Shared(keys[repeated], rows[order[repeated]])


def room_for(documents: int, bounds: Bounds) -> int:
    """The most keys of one band that a shard may get: they spread evenly over the ranges, but for chance."""
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
    return concatenated(
        (keys[part][hits], rows[part][hits])
        for keys, rows in runs()
        for band, part in by_band(keys)
        for hits in [twice[band].contains(keys[part])]
    )


class Components:
    """Documents linked by shared keys: the smallest row of each one's component, 24 bytes a row that shares any.

    In numpy alone: the process that runs a build divides documents, and a compiler would take 150 MB of its memory.
    """

    def __init__(self, rows: Iterable[RowIds]) -> None:
        """From ``rows`` uint64 of several shards; a row may come in more than one."""
        self.rows = np.empty(0, np.uint64)
        for some in rows:
            self.rows = np.union1d(self.rows, some)
        self._parent = np.arange(len(self.rows))

    def link(self, shared: Shared) -> None:
        """Link the documents that share these keys.

        Every root takes the smallest root that an edge leads to, until no edge leads anywhere else. A parent is never
        larger than its child, so the root of a component is its smallest row.
        """
        members = np.searchsorted(self.rows, shared.rows)
        same = np.flatnonzero(shared.keys[1:] == shared.keys[:-1])
        one, other = members[same], members[same + 1]
        while len(one):
            one, other = self._parent[one], self._parent[other]
            apart = one != other
            one, other = one[apart], other[apart]
            np.minimum.at(self._parent, np.maximum(one, other), np.minimum(one, other))
            self._flatten()

    def _flatten(self) -> None:
        """Let every parent be a root."""
        while not np.array_equal(above := self._parent[self._parent], self._parent):
            self._parent = above

    def packs(self, size: int) -> Integers:
        """The pack of every row, int64 [rows]: whole components by their first rows, about ``size`` rows a pack."""
        _, label, counts = np.unique(self._parent, return_inverse=True, return_counts=True)
        before = np.cumsum(counts) - counts
        number: Integers = np.unique(before // max(size, 1), return_inverse=True)[1][label]
        return number


def divided(shared: Shared, rows: RowIds, pack: Integers) -> list[tuple[int, Shared]]:
    """The part of ``shared`` of each pack; ``pack`` int64 [n] are the packs of ``rows`` uint64 [n]."""
    number = pack[np.searchsorted(rows, shared.rows)]
    order = np.argsort(number, kind="stable")
    cuts = np.flatnonzero(np.diff(number[order])) + 1
    parts = np.split(order, cuts) if len(order) else []
    return [(int(number[part[0]]), Shared(shared.keys[part], shared.rows[part])) for part in parts]
