"""The keys that earlier runs have seen, as Bloom filters beside the bank: one for every band and range of keys.

A later run looks into them first: a key that no filter has is surely new and needs no look-up. They carry the scheme of
the signatures, and refuse keys of another. Beside a full filter stands another one of twice its size, so the error of a
look-up grows by that of one filter, not without bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from mnemic.arrays import Flags, Hashes
from mnemic.errors import StepError
from mnemic.schema import FILTERS
from operators.deduplicate.bands import Bounds, by_band, within
from operators.deduplicate.bloom import BloomFilter, share_of_error
from operators.deduplicate.candidates import ERROR, room_for


@dataclass(eq=False)
class BandFilters:
    """The filters of one range of keys. A look-up reads all ``generations`` of a band; new keys go into the last."""

    bounds: Bounds
    scheme: str
    bands: int
    documents: int
    generations: dict[int, list[BloomFilter]] = field(default_factory=dict)

    def contains(self, keys: Hashes) -> Flags:
        """Whether each of ``keys`` uint64 [n], ascending, may have been added: bool [n]; False is certain."""
        present = np.zeros(len(keys), np.bool_)
        for band, part in by_band(keys):
            for one in self.generations.get(band, ()):
                present[part] |= one.contains(keys[part])
        return present

    def add(self, keys: Hashes) -> None:
        """Add ``keys`` uint64 [n], ascending; a key that may be there already is left out."""
        for band, part in by_band(keys):
            filters = self.generations.setdefault(band, [])
            fresh = keys[part]
            if not filters:
                filters.append(self._new(max(room_for(self.documents, self.bounds), len(fresh))))
            if len(filters) > 1 or filters[-1].count + len(fresh) > filters[-1].capacity:
                fresh = np.unique(fresh[~self.contains(fresh)])
            room = filters[-1].capacity - filters[-1].count
            filters[-1].add(fresh[:room])
            if len(fresh) > room:
                filters.append(self._new(max(2 * filters[-1].capacity, len(fresh) - room)))
                filters[-1].add(fresh[room:])

    def merge(self, other: BandFilters) -> BandFilters:
        """The filters that saw the keys of both, bit for bit where they are of one shape.

        Reference code: tests compare the filters of shards with those of the whole, and no step merges any.
        """
        if (self.scheme, self.bounds) != (other.scheme, other.bounds):
            raise StepError(
                f"Filters of different keys do not merge: those of {self.scheme}, and those of {other.scheme}."
            )
        merged = BandFilters(self.bounds, self.scheme, self.bands, self.documents)
        for band in sorted(self.generations.keys() | other.generations.keys()):
            mine, theirs = self.generations.get(band, []), other.generations.get(band, [])
            both = [one.merge(another) for one, another in zip(mine, theirs, strict=False)]
            merged.generations[band] = [*both, *mine[len(both) :], *theirs[len(both) :]]
        return merged

    def table(self) -> pa.Table:
        """As rows of `FILTERS`."""
        rows = [
            {
                "band": band,
                "first": self.bounds[0],
                "last": self.bounds[1],
                "generation": generation,
                "capacity": one.capacity,
                "held": one.count,
                "error": one.error,
                "observed_error": one.observed_error,
                "scheme": self.scheme,
                "bits": one.bits.tobytes(),
            }
            for band, filters in sorted(self.generations.items())
            for generation, one in enumerate(filters)
        ]
        return pa.Table.from_pylist(rows, schema=FILTERS)

    def _new(self, capacity: int) -> BloomFilter:
        return BloomFilter(capacity, share_of_error(ERROR, self.bands + 1))


def filters_of(table: pa.Table, scheme: str, bands: int, documents: int) -> list[BandFilters]:
    """The filters in rows of `FILTERS`, by range. Raises StepError where they were made of other signatures."""
    by_range: dict[Bounds, BandFilters] = {}
    for row in sorted(table.to_pylist(), key=lambda row: (row["first"], row["band"], row["generation"])):
        if row["scheme"] != scheme:
            raise StepError(
                f'The filters of the bank were made of other signatures ("{row["scheme"]}", and these are "{scheme}"). '
                "Build with --rebalance to make them anew."
            )
        bounds = (row["first"], row["last"])
        one = BloomFilter(row["capacity"], row["error"], row["held"], np.frombuffer(row["bits"], np.uint64).copy())
        group = by_range.setdefault(bounds, BandFilters(bounds, scheme, bands, documents))
        group.generations.setdefault(row["band"], []).append(one)
    return list(by_range.values())


def seen_by(filters: Sequence[BandFilters], keys: Hashes) -> Flags:
    """Whether each of ``keys`` uint64 [n], ascending, may be in one of the filters: bool [n]."""
    seen = np.zeros(len(keys), np.bool_)
    for one in filters:
        part = within(keys, one.bounds)
        seen[part] |= one.contains(keys[part])
    return seen
