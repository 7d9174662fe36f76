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
from array import array
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.catalogue import CATALOGUE
from mnemic.edits import blanked
from mnemic.errors import RecipeError
from mnemic.kept import PASSING
from mnemic.schema import UNITS
from mnemic.sentence_ranges import LONGEST, sentence_ranges
from operators.contracts import REJECTED, BatchFunction, Resources
from operators.sections import Derive, Section

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
        return self._split_batch

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Character ranges [start, end) of the units of one text, in order."""
        starts, ends = self._bounded(*self._pieces(text))[:2]
        return list(zip(starts.tolist(), ends.tolist(), strict=True))

    def _pieces(self, text: str) -> tuple[Integers, Integers]:
        """Starts and ends of the sentences of one text, int64 [n] each, however many they are."""
        starts, ends = array("q"), array("q")
        for first, last in sentence_ranges(text, self.max_characters):
            starts.append(first)
            ends.append(last)
        bounds = np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64)
        if self.min_characters == 1 or not starts:
            return bounds
        firsts = self._joined(*bounds, self.min_characters)
        return bounds[0][firsts], bounds[1][np.append(firsts[1:], len(bounds[1])) - 1]

    def _bounded(self, starts: Integers, ends: Integers) -> tuple[Integers, Integers, Integers]:
        """At most `MOST_UNITS` of the units, each of one or more of those given, and the first of these, int64 [n].

        So far as ``max_characters`` leaves room for it.
        """
        if len(starts) <= MOST_UNITS:
            return starts, ends, np.arange(len(starts))
        firsts = self._joined(starts, ends, int(ends[-1] - starts[0]) // (MOST_UNITS - 1) + 1)
        return starts[firsts], ends[np.append(firsts[1:], len(ends)) - 1], firsts

    def _joined(self, starts: Integers, ends: Integers, shortest: int) -> Integers:
        """The first piece of every unit, int64: pieces of fewer than ``shortest`` characters are joined."""
        firsts, first, last = array("q"), 0, -1
        for position, (start, end) in enumerate(zip(starts.data, ends.data, strict=True)):
            short = last - first < shortest
            short_at_end = position == len(starts) - 1 and end - start < shortest
            if not (len(firsts) and (short or short_at_end) and end - first <= self.max_characters):
                firsts.append(position)
                first = start
            last = end
        return np.frombuffer(firsts, np.int64)

    def _turns(self, text: str, starts: Integers, ends: Integers) -> tuple[Integers, Integers, Integers]:
        """Starts and ends of the pieces of a conversation, and the turn of each: int64 [n], -1 where they are several.

        A turn is one piece, or as many as it has sentences where it is longer than a unit may be.
        """
        turns = np.arange(len(starts))
        long = np.flatnonzero(ends - starts > self.max_characters)
        if len(long):
            inside = {turn: self._pieces(text[starts[turn] : ends[turn]]) for turn in long.tolist()}
            counts = np.ones(len(starts), np.int64)
            counts[long] = [len(inside[turn][0]) for turn in long.tolist()]
            begins, turns = starts, np.repeat(turns, counts)
            starts, ends = starts[turns], ends[turns]
            places = np.cumsum(counts) - counts
            for turn, (first, last) in inside.items():
                here = slice(places[turn], places[turn] + counts[turn])
                starts[here], ends[here] = begins[turn] + first, begins[turn] + last
        return starts, ends, turns

    def _split_batch(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        turns_of_batch = _Turns(batch.column("turns"))
        texts: list[str] = batch.column("text").to_pylist()
        if "edits" in batch.schema.names:
            edits = batch.column("edits").to_pylist()
            texts = [blanked(*pair) for pair in zip(texts, edits, strict=True)]
        empty = np.zeros(0, np.int64)
        columns_of = [(empty, empty, empty, empty)]  # starts, ends, first turn, last turn
        for text, turns in zip(texts, turns_of_batch.by_document(), strict=True):
            if turns is None:
                starts, ends, _ = self._bounded(*self._pieces(text))
                first = last = np.full(len(starts), -1)
            else:
                starts, ends, turn = self._turns(text, turns.starts, turns.ends)
                starts, ends, firsts = self._bounded(starts, ends)
                first, last = turns.first + turn[firsts], turns.first + turn[np.append(firsts[1:], len(turn)) - 1]
            columns_of.append((starts, ends, first, last))
        counts = np.array([len(columns[0]) for columns in columns_of[1:]], np.int64)
        starts, ends, first, last = (np.concatenate(column) for column in zip(*columns_of, strict=True))
        rows = pa.array(np.repeat(np.arange(len(texts)), counts))
        bounds = np.concatenate([[0], np.cumsum(counts)])
        columns = {
            "document": batch.column("id").take(rows),
            "ordinal": pa.array((np.arange(len(rows)) - np.repeat(bounds[:-1], counts)).astype(np.int32)),
            "start": pa.array(starts),
            "end": pa.array(ends),
            "speaker": turns_of_batch.speakers(first, last, batch.column("speaker").take(rows)),
            "time": turns_of_batch.times(first, batch.column("time").take(rows)),
            "turn": turns_of_batch.ids(first, last),
            **{name: batch.column(name).take(rows) for name in ("source", "collection", "tenant", "session")},
            "text": pa.array(
                [
                    text[start:end]
                    for text, begin, stop in zip(texts, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
                    for start, end in zip(starts[begin:stop].data, ends[begin:stop].data, strict=True)
                ],
                pa.large_string(),
            ),
        }
        units = pa.RecordBatch.from_arrays([columns[name] for name in UNITS.names], schema=UNITS)
        return units, _rejects(batch, np.flatnonzero(counts == 0))


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
class _DocumentTurns:
    """The turns of one conversation: character ranges int64 [n] in its text, and the number of its ``first`` turn."""

    starts: Integers
    ends: Integers
    first: int


class _Turns:
    """The turns of a batch of documents, numbered from 0 over all of them; none is held as a Python object.

    A unit has the numbers of its ``first`` and ``last`` turns, int64 [units] each, -1 for a unit of none.
    """

    def __init__(self, lists: pa.Array) -> None:
        """``lists`` are of `mnemic.schema.TURN`, null for a document that is no conversation."""
        self._counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        turns = lists.flatten()
        self._field = dict(zip((field.name for field in turns.type), turns.flatten(), strict=True))

    def by_document(self) -> Iterator[_DocumentTurns | None]:
        starts, ends = (self._field[name].to_numpy(zero_copy_only=False).astype(np.int64) for name in ("start", "end"))
        place = 0
        for count in self._counts.tolist():
            here = slice(place, place + count)
            yield _DocumentTurns(starts[here], ends[here], place) if count else None
            place += count

    def ids(self, first: Integers, last: Integers) -> pa.Array:
        """The turn that each unit is of, "" where they are several."""
        return pc.fill_null(self._of("id", first, first != last), "")

    def speakers(self, first: Integers, last: Integers, otherwise: pa.Array) -> pa.Array:
        """Who says each unit; ``otherwise`` where its turns do not tell, or are of several speakers."""
        codes = self._field["speaker"].dictionary_encode().indices.to_numpy(zero_copy_only=False)
        changes = np.concatenate([[0, 0], np.cumsum(codes[1:] != codes[:-1])]) if len(codes) else np.zeros(1, np.int64)
        speakers = pc.fill_null(self._of("speaker", first, changes[last + 1] != changes[first + 1]), "")
        return pc.if_else(pc.equal(speakers, ""), otherwise, speakers)

    def times(self, first: Integers, otherwise: pa.Array) -> pa.Array:
        """When each unit begins, ``otherwise`` where its first turn does not tell."""
        return pc.coalesce(self._of("time", first, first < 0), otherwise)

    def _of(self, name: str, turns: Integers, without: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Array:
        return self._field[name].take(pa.array(turns, mask=without | (turns < 0)))


def _rejects(batch: pa.RecordBatch, empty: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.RecordBatch:
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
