"""Documents to sentences, by rules: the units that are embedded and grouped into events.

Sentences are ranges of characters, found by rules (`mnemic.sentence_ranges`). Units tile the document: they are in
order, do not overlap, and leave out nothing but whitespace, so that any range of units is a range of characters. A
conversation is divided where its turns are.

A document has at most `MOST_UNITS` units. Where it would have more, neighbours are joined until each has its share of
the characters, across turns too: no prose comes near to that within the 10 MB of a document, and what does (one word a
line, "Ab. Ab. Ab.") is worth no vector for each. Below the bound nothing is joined, so it has no version of its own.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import Flags, Integers
from mnemic.catalogue import CATALOGUE
from mnemic.edits import blanked
from mnemic.errors import RecipeError
from mnemic.kept import PASSING
from mnemic.schema import TURN, UNITS
from mnemic.sentence_ranges import LONGEST
from operators.contracts import REJECTED, BatchFunction, Resources
from operators.sections import Derive, Section
from operators.sentences.joining import Joined
from operators.sentences.pieces import Split, Splitter, matched_pieces
from operators.sentences.places import TextBytes
from operators.sentences.turns import Parts, Turns

MOST_UNITS = 1 << 17
"""Units of a document: 10 MB, what a document may have, are so many sentences of 76 characters."""


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Row operator from documents to units (`mnemic.schema.UNITS`).

    Reads ``id``, ``text``, ``speaker``, ``time``, ``turns`` and whose the document is (and ``locator`` for rejects). Of
    a conversation every turn is a unit, with its own speaker and time (else the document's). A unit longer than
    ``max_characters`` is cut at its last space before the limit, or at the limit where it has none. One shorter than
    ``min_characters`` is joined with the next, the last with the one before, where the two fit the maximum. A document
    of whitespace alone is given back as an "empty" reject.
    """

    version: ClassVar[int] = 3
    resources: ClassVar[Resources] = Resources()

    max_characters: int = LONGEST
    min_characters: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.min_characters <= self.max_characters:
            raise RecipeError(
                f"Sentences cannot be between {self.min_characters} and {self.max_characters} characters long; set "
                "min_characters to at least 1 and max_characters to no less than that."
            )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return UNITS

    def open(self, device: str) -> BatchFunction:
        return functools.partial(self.units_of, Splitter(self.max_characters))

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Character ranges [start, end) of the units of one text, in order."""
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        texts = TextBytes(data, np.array([0, len(data)]), np.array([0, len(text)]))
        matched = functools.partial(matched_pieces, longest=self.max_characters)
        units = self._units(matched, texts, Turns(pa.nulls(1, pa.list_(TURN))))
        return list(zip(units.starts.tolist(), units.ends.tolist(), strict=True))

    def _units(self, split: Split, texts: TextBytes, turns: Turns) -> _UnitRanges:
        """The units of all ``texts``: turns, sentences of longer ones, and those of other documents."""
        parts = turns.parts(texts.characters)
        divided = (parts.turns < 0) | (parts.ends - parts.starts > self.max_characters)
        counts, firsts, lasts = split(texts.data, *self._divided_bytes(texts, parts, divided))
        if self.min_characters > 1:
            whole = Joined.of(firsts, lasts, counts, np.full(len(counts), self.min_characters), self.max_characters)
            firsts, lasts, counts = firsts[whole.firsts], lasts[whole.lasts], whole.counts
        pieces = np.ones(len(divided), np.int64)
        pieces[divided] = counts
        part = np.repeat(np.arange(len(divided)), pieces)
        starts, ends, inside = parts.starts[part], parts.ends[part], divided[part]
        ends[inside] = starts[inside] + lasts
        starts[inside] += firsts
        units = _UnitRanges(parts.documents[part], starts, ends, parts.turns[part], parts.turns[part])
        return units.bounded(len(texts.limits) - 1, self.max_characters)

    def _divided_bytes(self, texts: TextBytes, parts: Parts, divided: Flags) -> tuple[Integers, Integers]:
        """Where the parts that are ``divided`` begin and end in the bytes of ``texts``."""
        documents, turns = parts.documents[divided], parts.turns[divided] >= 0
        begins, ends = texts.limits[documents], texts.limits[documents + 1]
        if turns.any():
            begins[turns] = texts.bytes_of(documents[turns], parts.starts[divided][turns])
            ends[turns] = texts.bytes_of(documents[turns], parts.ends[divided][turns])
        return begins, ends

    def units_of(self, split: Split, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        texts, turns = TextBytes.of(_texts(batch)), Turns(batch.column("turns"))
        units = self._units(split, texts, turns)
        counts = np.bincount(units.documents, minlength=len(batch))
        rows, starts = pa.array(units.documents), np.cumsum(counts) - counts
        columns = {
            "document": batch.column("id").take(rows),
            "ordinal": pa.array((np.arange(len(rows)) - starts[units.documents]).astype(np.int32)),
            "start": pa.array(units.starts),
            "end": pa.array(units.ends),
            "speaker": turns.speakers(units.first, units.last, batch.column("speaker").take(rows)),
            "time": turns.times(units.first, batch.column("time").take(rows)),
            "turn": turns.ids(units.first, units.last),
            **{name: batch.column(name).take(rows) for name in ("source", "collection", "tenant", "session")},
            "text": texts.slices(units.documents, units.starts, units.ends),
        }
        unit_rows = pa.RecordBatch.from_arrays([columns[name] for name in UNITS.names], schema=UNITS)
        return unit_rows, _rejects(batch, np.flatnonzero(counts == 0))


SECTION = Section(
    "units",
    Sentences,
    Derive(
        origin="documents",
        target=CATALOGUE["units"],
        columns=("id", "source", "collection", "tenant", "session", "text", "speaker", "time", "turns"),
        key=("id",),
        target_key=("document",),
        after=("deduplicate",),
        where=PASSING,
        needs=("duplicate_of",),
        optional=("edits",),
    ),
    on=True,
    reads=("read",),
)


@dataclasses.dataclass(frozen=True)
class _UnitRanges:
    """Units in order, int64 [n] each: their ``documents``, characters of these, and ``first`` and ``last`` turns."""

    documents: Integers
    starts: Integers
    ends: Integers
    first: Integers
    last: Integers

    def bounded(self, documents: int, longest: int) -> _UnitRanges:
        """At most `MOST_UNITS` of each document, so far as ``longest`` leaves room for it."""
        counts = np.bincount(self.documents, minlength=documents)
        many = np.flatnonzero(counts > MOST_UNITS)
        if not len(many):
            return self
        behind = np.cumsum(counts)[many]
        shortest = np.zeros(documents, np.int64)
        shortest[many] = (self.ends[behind - 1] - self.starts[behind - counts[many]]) // (MOST_UNITS - 1) + 1
        units = Joined.of(self.starts, self.ends, counts, shortest, longest)
        firsts, lasts = units.firsts, units.lasts
        return _UnitRanges(
            self.documents[firsts], self.starts[firsts], self.ends[lasts], self.first[firsts], self.last[lasts]
        )


def _texts(batch: pa.RecordBatch) -> pa.Array:
    """The column `text`, blank where it has edits."""
    texts = batch.column("text")
    if "edits" not in batch.schema.names:
        return texts
    pairs = zip(texts.to_pylist(), batch.column("edits").to_pylist(), strict=True)
    return pa.array([blanked(*pair) for pair in pairs], pa.large_string())


def _rejects(batch: pa.RecordBatch, empty: Integers) -> pa.RecordBatch:
    indices = pa.array(empty)
    count = len(empty)
    has_locator = "locator" in batch.schema.names
    reason = "The document holds nothing but whitespace; leave it out of the source, or ignore this."
    return pa.RecordBatch.from_arrays(
        [
            batch.column("id").take(indices),
            batch.column("locator").take(indices) if has_locator else pa.array([""] * count, pa.string()),
            pa.array([reason] * count, pa.string()),
            pa.array(["empty"] * count, pa.string()),
        ],
        schema=REJECTED,
    )
