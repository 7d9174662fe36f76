"""Records as documents: which field is the text, and which say who spoke, when and in which session.

JSON Lines, CSV, Parquet, Arrow and the datasets of other tools hold records; the settings ``*_field`` name their fields
the same way for all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from pipelines.sources.contracts import Document
from pipelines.sources.files import Files
from pipelines.sources.json_values import Unusable, kind_of, label, shown
from pipelines.sources.text import is_blank, text_fault


class Records(Files):
    """Files of records. ``text_field`` is the field that is the text; the others name what else is said of it.

    A record is called by its number, or by ``id_field``, whose values differ in a file.
    """

    text_field: str = "text"
    id_field: str | None = None
    collection_field: str | None = None
    tenant_field: str | None = None
    session_field: str | None = None
    speaker_field: str | None = None
    time_field: str | None = None

    @property
    def wanted_fields(self) -> tuple[str, ...]:
        """The fields of a record that are looked at."""
        own = (getattr(self, name) for name in type(self).model_fields if name.endswith("_field"))
        columns = (name if isinstance(column, str) else column.field for name, column in self.columns.items())
        return tuple(dict.fromkeys([*filter(None, own), *columns]))

    def document(self, record: Mapping[str, Any], locator: str, number: int, subject: str) -> Document:
        """The document that a record of the file ``locator`` is; ``subject`` ("line 3") names it in sentences.

        Raises `Unusable`.
        """
        text = record.get(self.text_field)
        if not isinstance(text, str):
            stated_kind = kind_of(text) if self.text_field in record else "missing"
            raise Unusable(
                f"The field '{self.text_field}' of {subject} is {stated_kind}, not a string; name the right field"
                f" with `text_field`, or correct the {subject.partition(' ')[0]}."
            )
        if is_blank(text):
            raise Unusable(f"The field '{self.text_field}' of {subject} holds no text.", "empty")
        name = str(number) if self.id_field is None else _label(record, self.id_field, subject)
        if not name:
            unit = subject.partition(" ")[0]
            raise Unusable(f"The field '{self.id_field}' of {subject} is missing or empty; give each {unit} an id.")
        stem = os.path.basename(locator).rpartition(".")[0]
        document = Document(
            locator=f"{locator}#{name}",
            text=text,
            collection=_label(record, self.collection_field, subject) or first_folder(locator) or stem,
            tenant=_label(record, self.tenant_field, subject),
            session=_label(record, self.session_field, subject),
            speaker=_label(record, self.speaker_field, subject),
            time=_time(record.get(self.time_field), subject) if self.time_field is not None else None,
            metadata=record if self.columns else {},
        )
        strings = (text, name, document.collection, document.tenant, document.session, document.speaker)
        if fault := next(filter(None, map(text_fault, strings)), ""):
            raise Unusable(f"{subject[:1].upper()}{subject[1:]} cannot be stored. {fault}")
        return document


def first_folder(locator: str) -> str:
    """The folder at the top of a file's path, "" for none: what belongs together."""
    return locator.partition("/")[0] if "/" in locator else ""


def _label(record: Mapping[str, Any], field: str | None, subject: str) -> str:
    return "" if field is None else label(record, field, subject)


def _time(value: object, subject: str) -> datetime | None:
    """A time in UTC from ISO 8601 (UTC where it states no zone) or seconds since 1970; None where none is stated."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Unusable(
        f"The time of {subject} cannot be read ({shown(value)}); write ISO 8601, such as 2026-03-01T12:00:00Z, or"
        " seconds since 1970."
    )
