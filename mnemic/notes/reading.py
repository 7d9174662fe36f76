"""The notes of a release: conditions, the fold over them, and the time that somebody asks about."""

from __future__ import annotations

from datetime import UTC, date, datetime

from mnemic.conditions.values import moment
from mnemic.errors import QueryError
from mnemic.notes.datasets import NOTES, NOTES_SPEC
from mnemic.notes.history import Note, as_of, history
from mnemic.quoting import quoted
from mnemic.view import View, fitting


def notes_of(
    view: View,
    subject: str | None = None,
    attribute: str | None = None,
    tenant: str | None = None,
    at: datetime | date | None = None,
    closed: bool = False,
) -> list[Note]:
    """Notes in the order of their times.

    ``subject`` and ``attribute`` are compared without regard to case. ``at`` is a time; the notes that held then are
    given, else those that hold now, and with ``closed`` all. Raises ``QueryError`` where the release has no notes.
    """
    conditions = [
        f"{column} = {quoted(value)}"
        for column, value in (
            ("lower(subject)", subject and " ".join(subject.lower().split())),
            ("attribute", attribute and attribute.casefold()),
            ("tenant", tenant),
        )
        if value is not None
    ]
    return notes_where(view, " AND ".join(conditions) or None, at, closed)


def notes_where(
    view: View, condition: str | None, at: datetime | date | None = None, closed: bool = False
) -> list[Note]:
    """The same of the rows that satisfy ``condition``, SQL of mnemic's own; it must hold for all of a subject or none.

    A tenant and an attribute divide subjects further, which no fold crosses.
    """
    if NOTES_SPEC.name not in view:
        raise QueryError(
            f"Release {view.release.name} of {view.path} has no notes. Add the section `written` to its recipe, with a "
            "language model that writes them, and build again."
        )
    columns = [name for name in NOTES.names if name not in ("call", "grounded")]
    with fitting(view, "The notes"):
        notes = history(view.table(NOTES_SPEC.name, columns, condition).to_pylist())
    if at is not None:
        return as_of(notes, moment(at, "as_of").replace(tzinfo=UTC))
    return notes if closed else [note for note in notes if note.state == "current"]
