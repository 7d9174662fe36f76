"""Conditions on the rows that a search may look at: SQL over the columns of `events`, or names and values.

They hold before the search, in every index and for every neighbour: a row that does not meet them is never ranked, and
so never found.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from mnemic.errors import QueryError

Where = str | Mapping[str, Any] | Sequence["Where"] | None

_EQUAL = ("tenant", "source", "collection", "session", "document")
_NAMES = (*_EQUAL, "speaker", "after", "before")


def condition(where: Where, columns: Collection[str]) -> str | None:
    """``where`` as SQL. A mapping has the names tenant, source, collection, session, document, speaker (a value, or a
    list of which one must hold) and after, before (times, or ISO 8601: from the first, and before the second). Of
    several conditions all must hold.

    Raises `QueryError` for an unknown name, an unreadable time, or a column that an older bank does not have.
    """
    if where is None or isinstance(where, str):
        return where or None
    if not isinstance(where, Mapping):
        return both(*(condition(one, columns) for one in where))
    parts = []
    for name, value in where.items():
        if name not in _NAMES:
            near = difflib.get_close_matches(str(name), _NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_NAMES)}."
            raise QueryError(f"A search has no condition {name!r}: {hint} Other columns can be named in SQL.")
        if value is None:
            continue
        if name in ("after", "before"):
            column = "end_time" if name == "after" else "start_time"
            parts.append(f"{column} {'>=' if name == 'after' else '<'} {_time(name, value)}")
            continue
        column = "speakers" if name == "speaker" else name
        if column not in columns:
            raise QueryError(
                f"This bank has no column {name} in events: an older mnemic built it. Build it again to filter by it."
            )
        values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
        quoted = [_quoted(one) for one in values]
        if name == "speaker":
            parts.append(
                "(" + " OR ".join(f"array_has(speakers, {one})" for one in quoted) + ")" if quoted else "false"
            )
        else:
            parts.append(f"{column} IN ({', '.join(quoted)})" if quoted else "false")
    return " AND ".join(parts) or None


def within_documents(where: Where) -> Where:
    """The part of ``where`` that can differ between two rows of one document; None where no part can."""
    if where is None or isinstance(where, str):
        return where or None
    if not isinstance(where, Mapping):
        return [part for part in map(within_documents, where) if part is not None] or None
    return {name: value for name, value in where.items() if name not in _EQUAL and value is not None} or None


def of_documents(where: Where) -> str | None:
    """The part of ``where`` that rows of `documents` can answer, as SQL; SQL over `events` is not looked into."""
    if where is None or isinstance(where, str):
        return None
    if not isinstance(where, Mapping):
        return both(*map(of_documents, where))
    of_all = {name: value for name, value in where.items() if name in _EQUAL and name != "document"}
    identity = condition({"document": where.get("document")}, _EQUAL)
    return both(condition(of_all, _EQUAL), identity and identity.replace("document", "id", 1))


def of_level(level: str | None, where: str | None, columns: Collection[str]) -> str | None:
    """The condition ``where`` on rows of one level, or on leaves; older banks hold nothing but events."""
    rows = f"level = '{level}'" if level else "leaf" if "leaf" in columns else None
    return both(where, rows)


def both(*conditions: str | None) -> str | None:
    """All of the conditions at once."""
    return " AND ".join(f"({one})" for one in conditions if one) or None


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _time(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise QueryError(f"{name}={value!r} is no time; write it as 2026-01-31 or 2026-01-31T09:30:00Z.") from error
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return f"timestamp '{aware.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"
    if isinstance(value, date):
        return f"timestamp '{value:%Y-%m-%d} 00:00:00'"
    raise QueryError(f"{name}={value!r} is no time; give a date, a datetime or ISO 8601.")
