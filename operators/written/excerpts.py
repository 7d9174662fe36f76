"""Excerpts of sessions and events: the leaves that stand for the others, without a language model.

A row is a function of its document alone. Its sources are leaves, word for word: nothing in it is invented. A session
that is too long for its leaves to be compared with one another is excerpted from the bottom up: it chooses among those
that its events have chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers
from mnemic.ids import hash_parts
from mnemic.notes.datasets import EXCERPTS, EXCERPTS_SPEC
from operators.contracts import NO_REJECTS, BatchFunction, Resources, bounds, refuse
from operators.sections import Derive, Section
from operators.written.presets import as_preset

_READ = ("id", "document", "tenant", "session", "level", "leaf", "first_unit", "end_unit", "start", "end", "text")

MOST_LEAVES = 512
"""Leaves that are compared with one another. A session of more has those of the excerpts of its events; of more than
these, and of any other row, it is those that stand at equal distances."""


@dataclass(frozen=True)
class Excerpts:
    """Derives `excerpts` from events: one of each session and event that has leaves below it.

    ``words`` of an excerpt, default 60. ``levels``: the rows that get one, default session and event.
    """

    words: int = 60
    levels: tuple[str, ...] = ("session", "event")
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        levels = self.levels
        listed = isinstance(levels, list | tuple) and {*levels} <= {"session", "event"} and bool(levels)
        object.__setattr__(self, "levels", tuple(sorted({*levels})) if listed else ())
        rules = (("words", 5 <= self.words <= 2000, "5 to 2,000"),)
        refuse(
            [
                *bounds(self, "`{name}` of excerpts is {value!r}; give {bound}.", rules),
                "" if listed else "`levels` of excerpts are session, event, or both; write `levels: [session]`.",
            ]
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return EXCERPTS

    def open(self, device: str) -> BatchFunction:
        return self.excerpts

    def excerpts(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Excerpts of the rows of whole documents, in any order."""
        rows = list(self._rows(batch))
        return pa.RecordBatch.from_pylist(rows, schema=EXCERPTS), NO_REJECTS

    def _rows(self, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
        from operators.written.mmr import choose

        documents = batch.column("document").dictionary_encode().indices.to_numpy().astype(np.int64)
        begin, stop = (batch.column(name).to_numpy().astype(np.int64) for name in ("first_unit", "end_unit"))
        leaf = batch.column("leaf").to_numpy(zero_copy_only=False)
        order = np.lexsort((begin, documents))
        leaves = order[leaf[order]]
        keys = documents[leaves] << 32 | begin[leaves]  # leaves tile a document
        levels = np.array(batch.column("level").to_pylist(), dtype=object)
        holders = order[~leaf[order] & np.isin(levels[order], self.levels)]
        holders = holders[np.argsort(levels[holders] == "session", kind="stable")]  # events before their session
        inside, excerpted = np.zeros(len(leaves), bool), np.zeros(len(leaves), bool)
        low = np.searchsorted(keys, documents[holders] << 32 | begin[holders])
        high = np.searchsorted(keys, documents[holders] << 32 | stop[holders])
        columns = {name: batch.column(name) for name in _READ}
        for row, first, last in zip(holders.tolist(), low.tolist(), high.tolist(), strict=True):
            places = np.arange(first, last)
            if len(places) == 0:
                continue
            if len(places) > MOST_LEAVES and levels[row] == "session":
                places = places[excerpted[first:last] | ~inside[first:last]]
            places = _spread(places)
            texts = columns["text"].take(pa.array(leaves[places])).to_pylist()
            chosen_places = places[choose(texts, self.words)]
            chosen = leaves[chosen_places]
            if levels[row] == "event":
                inside[first:last] = True
                excerpted[chosen_places] = True
            sources = [{name: columns[column][place].as_py() for name, column in _SOURCE} for place in chosen.tolist()]
            node, text = columns["id"][row].as_py(), "\n".join(columns["text"][place].as_py() for place in chosen)
            yield {
                "id": hash_parts("excerpt", node, *(source["event"] for source in sources)),
                "node": node,
                **{name: columns[name][row].as_py() for name in ("document", "tenant", "session", "level")},
                "text": text,
                "sources": sources,
            }


_SOURCE = (("event", "id"), ("start", "start"), ("end", "end"))


def _spread(places: Integers) -> Integers:
    """``places`` int64 [n], or `MOST_LEAVES` of them at equal distances."""
    if len(places) <= MOST_LEAVES:
        return places
    return places[(np.arange(MOST_LEAVES) * len(places)) // MOST_LEAVES]


SECTION = Section(
    "excerpts",
    Excerpts,
    Derive(
        origin="events",
        target=EXCERPTS_SPEC,
        columns=_READ,
        key=("document",),
        target_key=("document",),
        after=("segment",),
    ),
    complete=as_preset("excerpts", on=False),
)
