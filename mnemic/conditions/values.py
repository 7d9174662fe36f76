"""Values as SQL, and times as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from mnemic.errors import QueryError
from mnemic.terminal import one_line

LONGEST = 50_000
"""Characters that the SQL of a condition may have; more values than fit are given as a list, by name."""
GROUP = 32
"""Operands of AND or OR that stand side by side: in a chain of tens of thousands Lance ends the process."""
SHOWN = 120
"""Characters of a condition, or of a value, that a message quotes."""


def shown(value: object) -> str:
    """``value`` as a message quotes it: on one line, and not all of it where it is long."""
    short = value[: SHOWN + 1] if isinstance(value, str) else value
    return one_line(repr(short), SHOWN)


def joined(word: str, parts: list[str]) -> str:
    """``parts``, each in brackets, joined by AND or OR, in groups where they are many."""
    while len(parts) > GROUP:
        parts = [joined(word, parts[start : start + GROUP]) for start in range(0, len(parts), GROUP)]
    return f" {word} ".join(f"({part})" for part in parts)


def too_long(text: str, length: int) -> QueryError:
    """The error for SQL of more than `LONGEST` characters."""
    return QueryError(
        f"The condition {shown(text)} has {length:,} characters, of which {LONGEST:,} are read. Give many values as a "
        "list, as in where={'document': [...]}."
    )


def text(value: str) -> str:
    """``value`` as text in SQL. Raises `QueryError` for a lone surrogate, which no text of a bank holds."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"{shown(value)} holds half a character (a lone surrogate); check how it was read.") from error
    return "'" + value.replace("'", "''") + "'"


def number(value: int | float) -> str:
    """``value`` as a number in SQL."""
    return repr(value)


def timestamp(value: datetime) -> str:
    """A moment, naive in UTC, as SQL; microseconds are kept."""
    return f"timestamp '{value.replace(tzinfo=None).isoformat(' ', 'microseconds')}'"


def day(value: date) -> str:
    """A day as SQL."""
    return f"date '{value.year:04}-{value.month:02}-{value.day:02}'"


def moment(value: Any, name: str) -> datetime:
    """``value``, a date, a datetime or ISO 8601, as a moment in UTC, naive; without a zone it is in UTC.

    ``name`` is what a `QueryError` calls it.
    """
    scalar = getattr(value, "astype", None)
    if scalar is not None and type(value).__name__ == "datetime64":
        value = scalar("datetime64[us]").item()  # in nanoseconds numpy would give a number
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(str.__str__(value).strip())
        except ValueError as error:
            raise QueryError(
                f"{name}={shown(value)} is no time; write it as 2026-01-31 or 2026-01-31T09:30:00Z."
            ) from error
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime) or value != value:  # noqa: PLR0124 - a missing time of pandas is not itself
        raise QueryError(f"{name}={shown(value)} is no time; give a date, a datetime or ISO 8601.")
    try:
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(tzinfo=None)
    except OverflowError as error:
        raise QueryError(
            f"{name}={shown(str(value))} lies outside the years 1 to 9999 in UTC; give a time inside them."
        ) from error
