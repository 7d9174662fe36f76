"""The items of all sources with their keys, as the process that plans a reading holds them: about 300 bytes an item.

A key is a hash of what decides what is read of an item: source, settings, locator, size and stamp. A part of a large
file also has the key of the whole file, under which it may have been read before files were read in parts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mnemic.ids import hash_parts
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.sources.contracts import Item, Source
from pipelines.sources.listing import items_of

_AT_ONCE = 65_536


@dataclass(frozen=True)
class Manifest:
    """``items`` of all ``sources`` in their order; those of source s end before ``ends[s]``. ``keys`` and ``wholes``:
    hex strings, one an item."""

    sources: tuple[Source, ...]
    items: list[Item]
    ends: list[int]
    keys: pa.ChunkedArray
    wholes: pa.ChunkedArray

    @classmethod
    def of(cls, sources: Sequence[Source], settings: tuple[str | int, ...]) -> Manifest:
        """List ``sources``. ``settings`` are those of the reader that decide what is read."""
        items, ends = list[Item](), list[int]()
        keys, wholes = list[pa.Array](), list[pa.Array]()
        for source in sources:
            identity = Record("source", source.version, source.identity(), {}).fingerprint
            listed = items_of(source)
            facts = (source.name, identity, *settings)
            for start in range(0, len(listed), _AT_ONCE):
                some = listed[start : start + _AT_ONCE]
                wholes.append(pa.array([_key(facts, item) for item in some], pa.string()))
                parted = any(item.part for item in some)
                keys.append(pa.array([_key(facts, item, True) for item in some], pa.string()) if parted else wholes[-1])
            items += listed
            ends.append(len(items))
        chunked = (pa.chunked_array(chunks, pa.string()) for chunks in (keys, wholes))
        return cls(tuple(sources), items, ends, *chunked)._once()

    def __add__(self, other: Manifest) -> Manifest:
        """The items of both, of sources that differ."""
        return Manifest(
            (*self.sources, *other.sources),
            [*self.items, *other.items],
            [*self.ends, *(len(self) + end for end in other.ends)],
            pa.chunked_array([*self.keys.chunks, *other.keys.chunks], pa.string()),
            pa.chunked_array([*self.wholes.chunks, *other.wholes.chunks], pa.string()),
        )

    def _once(self) -> Manifest:
        """Each item once: a source of another package may list one twice."""
        if len(KeySet(_batches(self.keys))) == len(self):
            return self
        first = {key: place for place, key in reversed(list(enumerate(self.keys.to_pylist())))}
        places = sorted(first.values())
        return Manifest(
            self.sources,
            [self.items[place] for place in places],
            [bisect_left(places, end) for end in self.ends],
            *(keys.take(places) for keys in (self.keys, self.wholes)),
        )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def bytes(self) -> int:
        """Of all items together."""
        return sum(item.size // (item.part.of if item.part else 1) for item in self.items)

    def source(self, place: int) -> int:
        """The number of the source of an item."""
        return bisect_right(self.ends, place)

    def key(self, place: int) -> str:
        return str(self.keys[place])

    def known(self) -> KeySet:
        """The keys of all items, and those of the files that they are parts of."""
        return KeySet(_batches(self.keys)) | KeySet(_batches(self.wholes))

    def missing(self, standing: KeySet) -> list[int]:
        """The places of the items of which neither the key nor that of the whole file is ``standing``."""
        missing, first = list[int](), 0
        for keys, wholes in zip(_batches(self.keys), _batches(self.wholes), strict=True):
            there = standing.has(keys) | standing.has(wholes)
            missing += [first + place for place in (~there).nonzero()[0].tolist()]
            first += keys.num_rows
        return missing


def _key(facts: Iterable[str | int], item: Item, of_part: bool = False) -> str:
    part = (item.part.number, item.part.of) if of_part and item.part is not None else ()
    return hash_parts("item", *facts, item.locator, item.size, item.stamp, *part)


def _batches(keys: pa.ChunkedArray) -> Iterator[pa.RecordBatch]:
    return (pa.RecordBatch.from_arrays([chunk], names=["item"]) for chunk in keys.chunks)
