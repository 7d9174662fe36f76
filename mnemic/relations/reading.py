"""The relations of a release, and which of them hold, by the fold over notes (`mnemic.notes.history`).

A relation is closed as an attribute is: only by a later one of the same tenant, subject and label, where a subject has
one object of that label at a time. Rows are never changed, so both sides stay readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from mnemic.conditions import all_of
from mnemic.conditions.values import moment
from mnemic.errors import QueryError
from mnemic.notes.history import Note, NoteSource, State, as_of, history
from mnemic.quoting import parts_of, quoted
from mnemic.relations.datasets import RELATIONS, RELATIONS_SPEC
from mnemic.view import View, fitting


@dataclass(frozen=True)
class Relation:
    """``subject`` - ``label`` - ``object``, with its sources and what is known of its time.

    It holds from ``start`` until before ``stop``; None is unknown, or open. ``state`` is "closed" where a later
    relation or its own text ends it, ``closed_by`` is the id of the relation that does, "" for none. ``contradicts``
    are ids of relations of the same time with other objects, ``ids`` those of the rows that say the same.
    """

    id: str
    tenant: str
    subject: str
    label: str
    object: str
    sources: tuple[NoteSource, ...]
    writer: str
    prompt: str
    said_at: datetime | None
    start: datetime | None
    stop: datetime | None
    precision: str
    functional: bool
    ids: tuple[str, ...]
    state: State
    closed_by: str
    contradicts: tuple[str, ...]


def related(rows: Iterable[Mapping[str, Any]], at: datetime | None = None) -> list[Relation]:
    """Relations with their states from rows of the dataset in any order, in the order of their times.

    With a time ``at`` those that hold then.
    """
    notes = history(_as_attribute(row) for row in rows)
    return [_relation(note) for note in (notes if at is None else as_of(notes, at))]


def relations_of(
    view: View,
    name: str | None = None,
    label: str | None = None,
    tenant: str | None = None,
    at: datetime | date | None = None,
    closed: bool = False,
) -> list[Relation]:
    """Relations in the order of their times.

    ``name`` stands at either end; it and ``label`` are compared without regard to case. ``at`` is a time; the relations
    that held then are given, else those that hold now, and with ``closed`` all. Raises ``QueryError`` where the release
    has none.
    """
    if RELATIONS_SPEC.name not in view:
        raise QueryError(
            f"Release {view.release.name} of {view.path} has no relations. Add the section `relations` to its recipe, "
            "beside `written` with a language model, and build again."
        )
    conditions = [
        f"{column} = {quoted(value)}"
        for column, value in (("label", label and _folded(label)), ("tenant", tenant))
        if value is not None
    ]
    time = None if at is None else moment(at, "as_of").replace(tzinfo=UTC)
    columns = [one for one in RELATIONS.names if one not in ("call", "note", "grounded")]
    with fitting(view, "The relations"):
        if name is None:
            rows = view.table(RELATIONS_SPEC.name, columns, " AND ".join(conditions) or None).to_pylist()
        else:
            rows = _rows_around(view, _folded(name), columns, conditions)
    relations = related(rows, time)
    if name is not None:
        relations = [one for one in relations if _folded(name) in (_folded(one.subject), _folded(one.object))]
    return relations if closed or time is not None else [one for one in relations if one.state == "current"]


def _rows_around(view: View, name: str, columns: list[str], conditions: list[str]) -> list[dict[str, Any]]:
    """All rows of every subject that ``name`` stands in a relation with: what closes one names another object."""
    either = f"(lower(subject) = {quoted(name)} OR lower(object) = {quoted(name)})"
    ends = view.table(RELATIONS_SPEC.name, ["subject"], " AND ".join([*conditions, either]))
    subjects = sorted({subject.lower() for subject in ends["subject"].to_pylist()})
    rows: list[dict[str, Any]] = []
    for of_subjects in parts_of("lower(subject)", subjects):
        rows += view.table(RELATIONS_SPEC.name, columns, all_of(*conditions, of_subjects)).to_pylist()
    return rows


def _as_attribute(row: Mapping[str, Any]) -> dict[str, Any]:
    text = f"{row['subject']} {row['label']} {row['object']}"
    return {**row, "kind": "attribute", "text": text, "attribute": row["label"], "value": row["object"]}


def _relation(note: Note) -> Relation:
    same = {name: getattr(note, name) for name in Relation.__dataclass_fields__ if name not in ("label", "object")}
    return Relation(label=note.attribute, object=note.value, **same)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
