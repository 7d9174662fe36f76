"""Shared keys on their way from the shards that found them to the packs that are decided about.

Up to 64 MB of them are kept in hand; more go through the dataset `partials`, first by shard and then by pack. The
process that divides them holds 24 bytes for every document that shares a key, and one shard's keys at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mnemic.arrays import RowIds
from mnemic.dataset import Store
from mnemic.dataset.write import WrittenFragment, append, write_rows
from operators.deduplicate.candidates import Components, Shared, concatenated, divided
from pipelines.steps.contracts import Context
from pipelines.steps.fit import PARTIALS

IN_HAND = 64 << 20
"""Bytes of shared keys, of all shards together, that need no dataset."""

SHARED = pa.schema(
    [
        pa.field("part", pa.int32(), nullable=False),  # the shard, or the pack, of these keys
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("row", pa.uint64(), nullable=False),  # row id of the document
    ]
)


@dataclass(frozen=True)
class PackPart:
    """Shared keys in hand, or the places where they lie: fragments of `partials`, first rows and numbers of rows."""

    documents: int
    shared: Shared | None
    version: int = 0
    places: tuple[tuple[int, int, int], ...] = ()

    def load(self, store: Store) -> Shared:
        if self.shared is not None:
            return self.shared
        partials = store[PARTIALS].require(self.version)
        tables = [partials.part(fragment, ["key", "row"], start, count) for fragment, start, count in self.places]
        return Shared(*concatenated((table["key"].to_numpy(), table["row"].to_numpy()) for table in tables))


def spilled(store: Store, part: int, shared: Shared, limit: int) -> tuple[WrittenFragment, ...]:
    """Write shared keys, if they are more than ``limit`` bytes, for the driver to commit; else nothing."""
    if shared.keys.nbytes + shared.rows.nbytes <= limit:
        return ()
    partials = store[PARTIALS]
    table = pa.table([np.full(len(shared.keys), part, np.int32), shared.keys, shared.rows], schema=SHARED)
    return tuple(write_rows(partials.uri, table, SHARED, partials.storage_options))


def make_room(context: Context) -> None:
    """Empty `partials` for this step."""
    partials, snapshot = context.store[PARTIALS], context.store[PARTIALS].snapshot()
    if snapshot is None or snapshot.count() or snapshot.schema.names != SHARED.names:
        context.commit(lambda: partials.create(SHARED, {}, {}))


def commit_spilled(context: Context, fragments: Sequence[WrittenFragment]) -> None:
    if fragments:
        context.commit(lambda: append(context.store[PARTIALS], fragments, {}))


def pieces_of_shards(store: Store, in_hand: dict[int, Shared | None]) -> list[PackPart]:
    """The results of all shards, in their order; None is looked up in `partials`."""
    places: dict[int, list[tuple[int, int, int]]] = {}
    version = 0
    if None in in_hand.values():
        partials = store[PARTIALS].require()
        version = partials.version
        for fragment in partials.fragments:
            shard = int(partials.part(fragment.id, ["part"], 0, 1)["part"][0].as_py())
            places.setdefault(shard, []).append((fragment.id, 0, fragment.rows))
    return [PackPart(0, in_hand[shard], version, tuple(places.get(shard, ()))) for shard in sorted(in_hand)]


def divide(
    context: Context, pieces: Sequence[PackPart], there: Callable[[RowIds], np.ndarray], size: int
) -> list[PackPart]:
    """Divide what shards found into packs of about ``size`` documents, leaving out rows that are not ``there``."""

    def shards() -> Iterator[Shared]:
        for piece in pieces:
            shared = piece.load(context.store)
            standing = there(shared.rows)
            yield Shared(shared.keys[standing], shared.rows[standing])

    linked = Components(shared.rows for shared in shards())
    for shared in shards():
        linked.link(shared)
    pack = linked.packs(size)
    documents = np.bincount(pack, minlength=1)
    if all(piece.shared is not None for piece in pieces):
        every = Shared(*concatenated((shared.keys, shared.rows) for shared in shards()))
        return [PackPart(int(documents[number]), part) for number, part in divided(every, linked.rows, pack)]
    before = {fragment.id for fragment in context.store[PARTIALS].require().fragments}
    layout: list[list[tuple[int, int]]] = []
    for shared in shards():
        parts = divided(shared, linked.rows, pack)
        layout.append([(number, len(part.keys)) for number, part in parts])
        ordered = Shared(*concatenated((part.keys, part.rows) for _, part in parts))
        commit_spilled(context, spilled(context.store, -1, ordered, -1))
    partials = context.store[PARTIALS].require()
    fragments = [fragment.id for fragment in partials.fragments if fragment.id not in before]
    places: dict[int, list[tuple[int, int, int]]] = {}
    for fragment, parts_of in zip(fragments, [one for one in layout if one], strict=True):
        start = 0
        for number, count in parts_of:
            places.setdefault(number, []).append((fragment, start, count))
            start += count
    return [
        PackPart(int(documents[number]), None, partials.version, tuple(places[number])) for number in sorted(places)
    ]
