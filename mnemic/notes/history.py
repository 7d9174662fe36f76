"""Which note holds at a time: a fold over the notes of a bank. Rows are never changed; what is closed is computed.

An attribute closes the value before it only where tenant, subject and attribute are the same, the attribute has one
value at a time, and its time is known and later; likeness of texts closes nothing. Two values of one time contradict
each other, and both stay. A note that is removed therefore reopens what it had closed, and one that arrives late takes
its place in the middle, whatever the order of arrival.

A note's time is the time that it names, else the time at which it was said. Notes of the same tenant, kind, subject and
text are one, with the sources of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

State = Literal["current", "closed"]


@dataclass(frozen=True)
class NoteSource:
    """A leaf of events that states a note: its id, its document, and its characters there."""

    event: str
    document: str
    start: int
    end: int


@dataclass(frozen=True)
class Note:
    """A note with what is known of its time.

    It holds from ``start`` until before ``stop``; None is unknown, or open. ``state`` is "closed" where a later note
    or its own text ends it. ``contradicts`` are ids of notes of the same time with other values, ``closed_by`` is the
    id of the note that ends it, "" for none.
    """

    id: str
    tenant: str
    kind: str
    text: str
    subject: str
    attribute: str
    value: str
    sources: tuple[NoteSource, ...]
    writer: str
    prompt: str
    said_at: datetime | None
    start: datetime | None
    stop: datetime | None
    precision: str
    functional: bool = False
    session: str = ""
    ids: tuple[str, ...] = ()
    state: State = "current"
    closed_by: str = ""
    contradicts: tuple[str, ...] = field(default=())

    def holds_at(self, time: datetime) -> bool:
        """Whether it holds at ``time``, as far as is known: a note without a time does, whenever one asks."""
        return (self.start is None or self.start <= time) and (self.stop is None or time < self.stop)


def history(rows: Iterable[Mapping[str, Any]]) -> list[Note]:
    """Notes with their states, from rows of the dataset `notes` in any order.

    The order is that of their times, those without a time first, then of their ids.
    """
    notes = sorted(_merged(rows), key=_order)
    slots: dict[tuple[str, str, str], list[Note]] = {}
    states: dict[str, Note] = {note.id: note for note in notes}
    for note in notes:
        if note.functional and note.kind == "attribute":
            slots.setdefault((note.tenant, _folded(note.subject), note.attribute), []).append(note)
    for slot in slots.values():
        for note in _closed(slot):
            states[note.id] = note
    return [states[note.id] for note in notes]


def as_of(notes: Sequence[Note], time: datetime) -> list[Note]:
    """The notes that hold at ``time``."""
    return [note for note in notes if note.holds_at(time)]


def _closed(slot: Sequence[Note]) -> Iterator[Note]:
    """The notes of one subject and attribute, in the order of their times, with what closes and contradicts them."""
    timed = [note for note in slot if note.start is not None]
    yield from (note for note in slot if note.start is None)
    moments = [list(group) for _, group in groupby(timed, key=lambda note: note.start)]
    for place, group in enumerate(moments):
        for note in group:
            others = tuple(one.id for one in group if _folded(one.value) != _folded(note.value))
            later = (
                one for after in moments[place + 1 :] for one in after if _folded(one.value) != _folded(note.value)
            )
            closing = next(later, None)
            if closing is not None and (note.stop is None or closing.start < note.stop):  # type: ignore[operator]
                ended = replace(note, contradicts=others, stop=closing.start, state="closed", closed_by=closing.id)
                yield ended
            else:
                yield replace(note, contradicts=others)


def _merged(rows: Iterable[Mapping[str, Any]]) -> Iterator[Note]:
    """One note for all rows that say the same at the same time, with the sources of all; its id is the smallest."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        same: tuple[Any, ...] = (row["tenant"], row["kind"], _folded(row["text"]), _folded(row["subject"]))
        same += (row["attribute"], _folded(row["value"]), row["valid_from"], row["valid_to"])
        if row["valid_from"] is None and row["functional"]:
            same += (row["said_at"],)
        groups.setdefault(same, []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: row["id"])
        first = group[0]
        sources = {
            NoteSource(source["event"], row["document"], source["start"], source["end"]): None
            for row in group
            for source in row["sources"]
        }
        spoken = [row["said_at"] for row in group if row["said_at"] is not None]
        start = first["valid_from"] or (min(spoken) if spoken else None)
        ended = first["valid_to"] is not None
        yield Note(
            **{name: first[name] for name in _SAME},
            sources=tuple(sorted(sources, key=lambda one: (one.document, one.start, one.event))),
            said_at=max(spoken, default=None),
            start=start,
            stop=first["valid_to"],
            ids=tuple(row["id"] for row in group),
            state="closed" if ended else "current",
        )


_SAME = (
    "id", "tenant", "kind", "text", "subject", "attribute", "value", "writer", "prompt", "precision", "functional",
    "session",
)  # fmt: skip


def _order(note: Note) -> tuple[bool, float, str]:
    return note.start is not None, 0.0 if note.start is None else note.start.timestamp(), note.id


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
