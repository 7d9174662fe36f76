"""Notes as results, which share the budget of a search with its rows.

A note says in one sentence what several turns say together, and leaves out what they say beside it. So they stand
beside one another. Of LoCoMo's development questions, with GPT's facts as notes and half of the budget for them, 250,
500 and 1,000 words hold 76, 83 and 87 % of the words of answers, where dated turns alone hold 72, 80 and 86 % (LOG.md).

The notes are those that hold: one that a later note ended is left out. A note whose rows do not all meet the condition
of the search is left out too, so a tenant is a boundary for notes as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mnemic.conditions import all_of
from mnemic.notes.datasets import NOTES, NOTES_SPEC
from mnemic.notes.history import Note, history
from mnemic.quoting import one_of
from mnemic.search.fusion import RANK_CONSTANT
from mnemic.search.noting import RankedNotes
from mnemic.times import moments
from mnemic.view import View

WORDS, ROWS = 0.25, 0.5
"""Weights of a note's rank by words and of the rank of its best row, beside 1 for its rank by meaning: of 0, .25 and .5
and of .5, 1 and 1.5 the best on LoCoMo's even questions (the odd ones have 72.0, 81.7 and 87.6 %, and by words alone
71.1, 78.5 and 85.5)."""

REPEATED = 0.65
"""Share of a note's words that stand in one shown text, from which on the note only repeats it."""

_LETTERS = 5
"""Letters by whose beginning two words are the same: "adopted" and "adopting"."""

_LONG = re.compile(r"[^\W_]{3,}")


@dataclass(frozen=True)
class NoteHit:
    """A note that answers a query: text that a language model wrote, and that stands in the rows of its sources.

    ``dated`` is the text with the days that relative times of its sources mean behind it. ``score`` is a sum of
    reciprocal ranks, ``reason`` says which.
    """

    note: Note
    dated: str
    score: float
    reason: str

    @property
    def id(self) -> str:
        return self.note.id

    @property
    def text(self) -> str:
        return self.note.text


def note_hits(
    view: View,
    notes: RankedNotes,
    places: Mapping[str, int],
    shown: Sequence[str],
    where: str | None,
    budget: int,
    count: Callable[[str], int],
    dated: bool,
) -> list[NoteHit]:
    """The best of ``notes`` that hold and fill the ``budget`` by ``count``, best first, with their days if ``dated``.

    ``places`` are ranks of rows in the search by id, ``where`` is its condition on them, and ``shown`` are the texts
    beside which the notes stand.
    """
    if not notes.rows:
        return []
    rows = [min((places[one] for one in notes.events(place) if one in places), default=np.inf) for place in _all(notes)]
    beside = np.array(rows, np.float64)
    scores = 1 / (RANK_CONSTANT + notes.meaning)
    scores += WORDS / (RANK_CONSTANT + notes.words) + ROWS / (RANK_CONSTANT + beside)
    sources = _sources(view, notes, where)
    holding = _holding(view, notes)
    texts = [_roots(text) for text in shown]
    taken_ids, hits, left = set[str](), list[NoteHit](), budget
    for place in notes.order(scores):
        note = holding.get(notes.rows[place]["id"])
        events = notes.events(place)
        if note is None or note.id in taken_ids or not all(event in sources for event in events):
            continue
        size = count(note.text)
        if size > left:  # with its days it is no shorter, and to find these takes a pass over each of its sources
            continue
        roots = _roots(note.text)
        if any(len(roots & text) >= REPEATED * len(roots) for text in texts):
            continue
        with_days = _with_days(note.text, [sources[event] for event in events])
        size = count(with_days) if dated else size
        if size <= left:
            left -= size
            taken_ids.add(note.id)
            signals = (("meaning", notes.meaning), ("words", notes.words), ("its rows", beside))
            ranks = [f"{name}: rank {int(one[place])}" for name, one in signals if np.isfinite(one[place])]
            own = replace(note, sources=tuple(one for one in note.sources if one.event in sources))
            hits.append(NoteHit(own, with_days, float(scores[place]), ", ".join(ranks)))
    return hits


def _all(notes: RankedNotes) -> range:
    return range(len(notes.rows))


def _sources(view: View, notes: RankedNotes, where: str | None) -> dict[str, dict[str, Any]]:
    """Id -> text and time of the rows of ``notes`` that satisfy ``where``."""
    ids = sorted({event for place in _all(notes) for event in notes.events(place)})
    rows = view.dataset("events").scan(["id", "text", "start_time"], all_of(where, one_of("id", ids)))
    return {row["id"]: row for batch in rows for row in batch.to_pylist()}


def _holding(view: View, notes: RankedNotes) -> dict[str, Note]:
    """Id of a row -> the note that it is of, where that holds.

    Only another value of the same attribute ends a note (`mnemic.notes.history`), so of other notes none are read.
    """
    ids = [row["id"] for row in notes.rows]
    slots = {(row["subject"].lower(), row["attribute"]) for row in notes.rows if row["functional"]}
    conditions = [one_of("id", ids)]
    if slots:
        subjects, attributes = (sorted(set(names)) for names in zip(*slots, strict=True))
        same_slot = f"{one_of('attribute', attributes)} AND {one_of('lower(subject)', subjects)}"
        conditions.append(f"(functional AND {same_slot})")
    columns = [name for name in NOTES.names if name not in ("call", "grounded")]
    rows = view.table(NOTES_SPEC.name, columns, " OR ".join(conditions)).to_pylist()
    return {own: note for note in history(rows) if note.state == "current" for own in note.ids}


def _with_days(text: str, sources: Sequence[Mapping[str, Any]]) -> str:
    """``text`` with the days that relative times of its ``sources`` mean, as far as it does not name them."""
    days = [day for day in dict.fromkeys(_days(sources)) if day not in text]
    return f"{text} ({', '.join(days)})" if days else text


def _days(sources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for source in sources:
        time = source["start_time"]
        if time is not None:
            day = time.date()
            yield from (one.words for one in moments(source["text"], day) if one.anchor is not None)


def _roots(text: str) -> frozenset[str]:
    return frozenset(word[:_LETTERS] for word in _LONG.findall(text.casefold()))
