"""Kinds of values, and a value written for the column that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from mnemic.conditions import values
from mnemic.errors import QueryError

TRUTH, NUMBER, TEXT, TIME, LIST, OTHER = "true or false", "a number", "text", "a time", "a list", "no plain value"

Literal = bool | int | float | str | datetime


@dataclass(frozen=True)
class Term:
    """An operand: its SQL, its kind, the value where it is a literal, and the type where it is a column."""

    sql: str
    kind: str
    literal: Literal | None = None
    type: pa.DataType | None = None


def kind_of(kind: pa.DataType) -> str:
    """The kind that values of an Arrow type have."""
    types: Any = pa.types
    if types.is_boolean(kind):
        return TRUTH
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return NUMBER
    if types.is_string(kind) or types.is_large_string(kind):
        return TEXT
    if types.is_timestamp(kind) or types.is_date(kind):
        return TIME
    if types.is_list(kind) or types.is_large_list(kind):
        return LIST
    return OTHER


def literal(value: Literal) -> Term:
    """A value as a term, written as for no column in particular."""
    if isinstance(value, bool):
        return Term("true" if value else "false", TRUTH, value)
    if isinstance(value, int | float):
        return Term(values.number(value), NUMBER, value)
    if isinstance(value, str):
        return Term(values.text(value), TEXT, value)
    return Term(values.timestamp(value), TIME, value)


def beside(term: Term, other: Term) -> str:
    """The SQL of ``term`` as it is compared with ``other``. Raises `QueryError` where that has no meaning."""
    if OTHER in (term.kind, other.kind) or LIST in (term.kind, other.kind):
        which = term if term.kind in (OTHER, LIST) else other
        raise QueryError(f"{which.sql} holds {which.kind} to compare; of lists ask array_has(column, 'value').")
    if term.kind == TEXT and other.kind == TIME and isinstance(term.literal, str):
        term = literal(values.moment(term.literal, other.sql.strip("`")))
    if term.kind != other.kind and not (other.kind == TEXT and term.kind == TIME and other.literal is not None):
        raise QueryError(f"{term.sql} is {term.kind}, and {other.sql} is {other.kind}; compare values of one kind.")
    if term.literal is None or other.type is None:
        return term.sql
    if pa.types.is_integer(other.type):
        return _whole(term, other)
    if isinstance(term.literal, datetime):
        return _time(term.literal, other)
    return term.sql


def _whole(term: Term, column: Term) -> str:
    value = term.literal
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    unsigned = pa.types.is_unsigned_integer(column.type)
    bits = column.type.bit_width - (not unsigned)  # type: ignore[union-attr]
    least, most = 0 if unsigned else -(2**bits), 2**bits - 1
    if not isinstance(value, int) or not least <= value <= most:
        raise QueryError(
            f"{column.sql} holds whole numbers from {least} to {most}; compare it with one of them, not {term.sql}."
        )
    return values.number(value)


def _time(value: datetime, column: Term) -> str:
    if pa.types.is_date32(column.type):
        if value != datetime(value.year, value.month, value.day):
            raise QueryError(f"{column.sql} holds days; compare it with a day, such as date '2026-01-31'.")
        return values.day(value)
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns" and not 1678 <= value.year <= 2261:  # type: ignore[union-attr]
        raise QueryError(f"{column.sql} holds times from 1678 to 2261; compare it with one of them.")
    return values.timestamp(value)
