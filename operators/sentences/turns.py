"""Documents as parts, the turns of a conversation or the whole of another text; and turns as units have them.

Turns of a batch are numbered from 0 over all of its documents, and none is held as a Python object. A unit has the
numbers of its ``first`` and ``last`` turns, int64 [units] each, -1 for a unit of none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags, Integers


@dataclass(frozen=True)
class Parts:
    """Runs of characters that no unit goes beyond, unless a document has too many: int64 [n] each, in order.

    ``documents``: of which row; ``starts``, ``ends``: in its text; ``turns``: the number of the turn, -1 for a document
    without turns.
    """

    documents: Integers
    starts: Integers
    ends: Integers
    turns: Integers


class Turns:
    """The turns of a batch of documents."""

    def __init__(self, lists: pa.Array) -> None:
        """``lists`` are of `mnemic.schema.TURN`, null for a document that is no conversation."""
        self._counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        turns = lists.flatten()
        self._field = dict(zip((field.name for field in turns.type), turns.flatten(), strict=True))

    def parts(self, characters: Integers) -> Parts:
        """The parts of documents before each of which ``characters``, int64 [documents + 1], stand.

        A turn begins and ends within its text, and no earlier than the one before it, whatever a source says.
        """
        documents = np.repeat(np.arange(len(self._counts)), np.maximum(self._counts, 1))
        spoken = self._counts[documents] > 0
        turns = np.where(spoken, np.cumsum(spoken) - 1, -1)
        bounds = characters[documents[:, None] + np.arange(2)]  # of each part, among the characters of all texts
        if spoken.any():
            stated = np.stack([self._field[name].to_numpy(zero_copy_only=False) for name in ("start", "end")], axis=1)
            lengths = np.diff(bounds[spoken])
            bounds[spoken] = bounds[spoken, :1] + np.clip(stated.astype(np.int64), 0, lengths)
            bounds = np.maximum.accumulate(bounds.ravel()).reshape(-1, 2)
        starts, ends = (bounds - characters[documents, None]).T
        return Parts(documents, starts, ends, turns)

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

    def _of(self, name: str, turns: Integers, without: Flags) -> pa.Array:
        return self._field[name].take(pa.array(turns, mask=without | (turns < 0)))
