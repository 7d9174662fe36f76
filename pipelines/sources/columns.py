"""People's own metadata: what a source states beside the text, as typed columns of the bank.

A recipe names the columns, `columns: {author: text, rating: number, published: time, tags: list}`, or where a column is
to have another name than the field, `columns: {by: {type: text, field: creator}}`. A value of another type is left out
and told; the document is kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mnemic.errors import RecipeError
from mnemic.schema import UNSAID
from pipelines.sources.text import text_fault
from pipelines.sources.times import FORMS, read_time

ColumnType = Literal["text", "number", "time", "list"]


class Column(BaseModel):
    """A column that has another name than the field that it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ColumnType
    field: str = Field(min_length=1)


Columns = dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")], ColumnType | Column]
"""Column -> type, as a recipe names them."""

MOST_TEXT = 10_000
"""Characters of a text in a column."""

MOST_ITEMS = 1_000
"""Texts in a list."""


class _Other(Exception):
    """The value is not of the column's type; ``str(error)`` ends the sentence."""


def typed(
    metadata: Mapping[str, object], columns: Mapping[str, ColumnType | Column]
) -> tuple[dict[str, Any], list[str]]:
    """The values of ``columns`` in a document's ``metadata``, null for none, and a sentence for each that is left out.

    Values are str, float, datetime in UTC, or list[str].
    """
    values: dict[str, Any] = {}
    faults = []
    for name, column in columns.items():
        values[name] = None
        kind, field = (column.type, column.field) if isinstance(column, Column) else (column, name)
        stated = metadata.get(field)
        if stated is None or (isinstance(stated, str) and not stated.strip()):
            continue
        try:
            values[name] = _READ[kind](stated)
        except _Other as error:
            faults.append(f"Left out is only its `{name}`, which {error}")
    return values, faults


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        value = value.isoformat()
    if isinstance(value, int | float):
        value = str(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    if not isinstance(value, str):
        raise _Other(f"is {_kind(value)}, not a text; name a field that holds one.")
    return _storable(value)


def _number(value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            raise _Other("is a text, not a number; write digits, or name the column `text`.") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Other(f"is {_kind(value)}, not a number; write digits, or give the column another type.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Other("is no finite number; write digits.")
    return number


def _time(value: object) -> datetime:
    if isinstance(value, datetime):
        value = value.isoformat()
    elif isinstance(value, date):
        value = f"{value.isoformat()}T00:00:00Z"
    moment = read_time(value)
    if moment is None:
        raise _Other(f"cannot be read as a time; write {FORMS}.")
    return moment


def _list(value: object) -> list[str]:
    items = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if len(items) > MOST_ITEMS:
        raise _Other(f"holds {len(items):,} values; a list may have {MOST_ITEMS:,}.")
    return [_text(item) for item in items if item is not None]


def _storable(value: str) -> str:
    if len(value) > MOST_TEXT:
        raise _Other(f"has {len(value):,} characters; a column may have {MOST_TEXT:,}, so name a shorter field.")
    if fault := text_fault(value):
        raise _Other(f"cannot be stored. {fault}")
    return value


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", tuple: "a list"}
    return names.get(type(value), "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}")


_READ: dict[str, Any] = {"text": _text, "number": _number, "time": _time, "list": _list}


MOST_TITLE_WORDS = 32
"""Words of a title that a search hears."""

TITLE = "title"
"""The column that holds what a document is called, and the field of the metadata that a source states it in."""


def asks_for(columns: Columns, field: str) -> bool:
    """Whether one of ``columns`` holds the ``field`` of metadata: a source need not look for what nobody keeps."""
    return any(field == (column.field if isinstance(column, Column) else name) for name, column in columns.items())


def titled(sources: tuple[Any, ...]) -> tuple[Any, ...]:
    """The sources of a recipe, each with a column `title`: the one that it names, else the title that it states.

    Those of other packages that keep no metadata stay as they are. Raises `RecipeError` where a source has a column
    `title` that is no text.
    """
    for source, name, kind in columns_of(sources):
        if name == UNSAID:
            raise RecipeError(
                f"The column `{name}` of the source {source!r} has a name that `context` needs; name it otherwise."
            )
        if name == TITLE and kind != "text":
            raise RecipeError(
                f"The column `title` of the source {source!r} is a {kind}, and `context` puts titles before texts; "
                "name that column otherwise, or make it a text."
            )
    return tuple(
        source.model_copy(update={"columns": {TITLE: "text", **source.columns}})
        if hasattr(source, "columns") and hasattr(source, "model_copy")
        else source
        for source in sources
    )


def unsaid(title: object, text: str) -> str | None:
    """The words of ``title`` that ``text`` does not have, whatever their case; None for none.

    Takes as long as looking through the text once for each of the first `MOST_TITLE_WORDS` words.
    """
    words = dict.fromkeys(re.findall(r"\w+", title)) if isinstance(title, str) else {}
    missing = [word for word in list(words)[:MOST_TITLE_WORDS] if not _has(text, word)]
    return " ".join(missing) or None


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def columns_of(sources: tuple[Any, ...]) -> Iterator[tuple[str, str, ColumnType]]:
    """(source, column, type) of all columns that the sources of a recipe name."""
    for source in sources:
        for name, column in getattr(source, "columns", {}).items():
            yield source.name, name, column.type if isinstance(column, Column) else column
