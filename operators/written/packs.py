"""Packs: whole events of one document, as much as a language model is asked about at once.

A pack holds the leaves of consecutive events (turns, passages) up to a number of tokens, counted as a token for four
characters, and before them the last leaves of the pack before, as context. An event that is longer than a pack is
divided at its leaves. The rest of a document that would be less than half a pack joins the pack before it, since a
request costs its constant text as well. So a pack is a function of its document alone; what a model is asked depends on
no other document, no order and no stored memory, and an answer that was paid for stays good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.ids import hash_parts
from mnemic.notes.datasets import PACKED, PACKS, PACKS_SPEC
from operators.contracts import REJECTED, BatchFunction, Resources, bounds, refuse
from operators.sections import Derive, Section
from operators.written.presets import as_preset

CHARACTERS_OF_A_TOKEN = 4
TOKENS_OF_A_UNIT = 16
"""What a number, a speaker and a time add to a unit."""

LONGEST = 8
"""A leaf of more than so many packs' tokens is rejected."""

_READ = ("id", "document", "tenant", "session", "parent", "first_unit", "start", "end", "text", "speakers")


@dataclass(frozen=True)
class Packs:
    """Derives `packs` from the leaves of events.

    ``tokens``: tokens of a pack, a token for four characters, default 1,500. ``context``: leaves before a pack that a
    model sees and cannot cite, default 3. ``rest``: share of a pack by which the last pack of a document may be larger
    than ``tokens`` where that saves one, default 0.5. A leaf of more than eight packs' tokens is a reject.
    """

    tokens: int = 1500
    context: int = 3
    rest: float = 0.5
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        rules = (
            ("tokens", 64 <= self.tokens <= 100_000, "64 to 100,000"),
            ("context", 0 <= self.context <= 50, "0 to 50"),
            ("rest", isinstance(self.rest, int | float) and 0 <= self.rest <= 1, "a share from 0 to 1"),
        )
        refuse(bounds(self, "`{name}` of packs is {value!r}; give {bound}.", rules))

    def output(self, schema: pa.Schema) -> pa.Schema:
        return PACKS

    def open(self, device: str) -> BatchFunction:
        return self.pack

    def pack(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Packs of the leaves of whole documents, in any order, and the leaves that are too long as rejects."""
        documents = batch.column("document").dictionary_encode()
        order = np.lexsort((batch.column("first_unit").to_numpy(), documents.indices.to_numpy()))
        leaves = batch.take(pa.array(order))
        characters = (leaves.column("end").to_numpy() - leaves.column("start").to_numpy()).astype(np.int64)
        tokens = characters // CHARACTERS_OF_A_TOKEN + TOKENS_OF_A_UNIT
        fits = tokens <= LONGEST * self.tokens
        rejects = _too_long(leaves.filter(pa.array(~fits)), characters[~fits])
        leaves, tokens = leaves.filter(pa.array(fits)), tokens[fits]
        owner = leaves.column("document").dictionary_encode().indices.to_numpy()
        events = _runs(leaves.column("parent"), owner)
        starts = self._starts(owner, events, tokens)
        return self._rows(leaves, owner, tokens, starts), rejects

    def _starts(self, owner: Integers, events: Integers, tokens: Integers) -> Integers:
        """The first leaf of each pack, int64 [packs]. Events are taken whole while they fit.

        A pack may be as large as ``tokens``, or by the share ``rest`` larger where nothing of its document is left.
        """
        if not len(owner):
            return np.empty(0, np.int64)
        bounds = np.flatnonzero(np.append(True, events[1:] != events[:-1]))
        sums = np.add.reduceat(tokens, bounds).tolist()
        left = _left(owner, tokens)
        starts, filled, document, most = [], 0, -1, 0
        stops = [*bounds[1:].tolist(), len(owner)]

        def begin_at(leaf: int) -> None:
            nonlocal filled, most
            starts.append(leaf)
            whole = int(left[leaf]) <= (1 + self.rest) * self.tokens
            filled, most = 0, int(left[leaf]) if whole else self.tokens

        for begin, stop, size in zip(bounds.tolist(), stops, sums, strict=True):
            if owner[begin] != document or filled + size > most:
                document = int(owner[begin])
                begin_at(begin)
            if size <= most:
                filled += size
                continue
            for leaf in range(begin, stop):  # an event that is longer than a pack
                if filled and filled + tokens[leaf] > most:
                    begin_at(leaf)
                filled += int(tokens[leaf])
        return np.unique(np.array(starts, np.int64))

    def _rows(self, leaves: pa.RecordBatch, owner: Integers, tokens: Integers, starts: Integers) -> pa.RecordBatch:
        stops = np.append(starts[1:], len(owner)).astype(np.int64)[: len(starts)]
        first_of_document = np.searchsorted(owner_starts(owner), starts, side="right") - 1
        document_starts = owner_starts(owner)[first_of_document] if len(starts) else starts
        before = np.maximum(starts - self.context, document_starts)
        ids = leaves.column("id").to_pylist()
        names = leaves.column("document").take(pa.array(starts))
        packs = [
            hash_parts("pack", document, *ids[context:begin], "", *ids[begin:stop])
            for document, context, begin, stop in zip(
                names.to_pylist(), before.tolist(), starts.tolist(), stops.tolist(), strict=True
            )
        ]
        sizes = np.append(0, np.cumsum(tokens))
        structs = _structs(leaves)
        columns = {
            "pack": pa.array(packs, pa.string()),
            "document": names,
            "tenant": leaves.column("tenant").take(pa.array(starts)),
            "session": leaves.column("session").take(pa.array(starts)),
            "tokens": pa.array(sizes[stops] - sizes[before], pa.int64()),
            "context": _lists(structs, before, starts),
            "units": _lists(structs, starts, stops),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in PACKS.names], schema=PACKS)


def owner_starts(owner: Integers) -> Integers:
    """The places at which a run of equal values begins, int64 [runs]."""
    return np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))[: len(owner)]


def _left(owner: Integers, tokens: Integers) -> Integers:
    """The tokens of each leaf and of those behind it in its document, int64 [n]."""
    sums = np.cumsum(tokens)
    lasts = np.append(owner_starts(owner)[1:], len(owner)) - 1
    last = lasts[np.searchsorted(lasts, np.arange(len(owner)))]
    rests: Integers = sums[last] - sums + tokens
    return rests


def _runs(parents: pa.Array, owner: Integers) -> Integers:
    """A number for each leaf that changes with its event and its document, int64 [n]."""
    codes = parents.dictionary_encode().indices.to_numpy()
    changes = (codes[1:] != codes[:-1]) | (owner[1:] != owner[:-1])
    return np.append(0, np.cumsum(changes))[: len(owner)]


def _structs(leaves: pa.RecordBatch) -> pa.StructArray:
    """Each leaf as a unit of a pack; its number is set where it is put into one."""
    one = pc.equal(pc.list_value_length(leaves.column("speakers")), 1)
    flat = leaves.column("speakers").filter(one).flatten()
    speakers = pc.replace_with_mask(pa.array([""] * leaves.num_rows, pa.string()), one, flat)
    columns = {
        "n": pa.array(np.zeros(leaves.num_rows, np.int32)),
        "event": leaves.column("id"),
        "start": leaves.column("start"),
        "end": leaves.column("end"),
        "speaker": speakers,
        "time": leaves.column("start_time"),
        "text": leaves.column("text"),
    }
    return pa.StructArray.from_arrays([columns[field.name] for field in PACKED], fields=list(PACKED))


def _lists(structs: pa.StructArray, begins: Integers, stops: Integers) -> pa.ListArray:
    """Lists of ``structs[begin:stop]``, numbered from 0 in each."""
    sizes = stops - begins
    offsets = np.append(0, np.cumsum(sizes)).astype(np.int64)
    numbers = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    values = structs.take(pa.array(numbers + np.repeat(begins, sizes)))
    fields = [values.field(place) for place in range(len(PACKED))]
    fields[0] = pa.array(numbers.astype(np.int32))
    numbered = pa.StructArray.from_arrays(fields, fields=list(PACKED))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), numbered, type=pa.list_(PACKED))


def _too_long(leaves: pa.RecordBatch, characters: Integers) -> pa.RecordBatch:
    rows = [
        {
            "input": document,
            "locator": f"characters {start} to {start + size}",
            "reason": f"A row of {size:,} characters is too long to be asked about. Let `segment` cut smaller rows, "
            "or raise `tokens` of `packs`.",
            "severity": "reject",
        }
        for document, start, size in zip(
            leaves.column("document").to_pylist(), leaves.column("start").to_pylist(), characters.tolist(), strict=True
        )
    ]
    return pa.RecordBatch.from_pylist(rows, schema=REJECTED)


SECTION = Section(
    "packs",
    Packs,
    Derive(
        origin="events",
        target=PACKS_SPEC,
        columns=(*_READ, "start_time"),
        key=("document",),
        target_key=("document",),
        after=("segment",),
        where="leaf",
    ),
    complete=as_preset("packs", on=True),
)
