"""A folder, a file or a glob: text files are documents, and so is each line of a JSON Lines file.

JSON Lines are how corpora travel; fields of a line say who spoke, when and in which session. A file is streamed, and a
bad line costs that line alone. What belongs together in a conversation is the source `conversations`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.ids import hash_parts
from pipelines.seen import SeenIds
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.files import Files, first_folder
from pipelines.sources.json_values import JSON_LINES, Unusable, json_lines, kind_of, label, shown
from pipelines.sources.text import content, decode_text, is_blank, text_fault


class Folder(Files):
    """Files below ``path`` (a folder, a file or a glob, relative to ``root``) whose names end in one of ``suffixes``.

    A file that ``path`` itself names is read whatever its suffix. Hidden files and folders are left out; links that
    lead out of the folder are rejected. The fields ``*_field`` name fields of JSON Lines records.
    """

    version: ClassVar[int] = 1

    kind: Literal["folder"] = "folder"
    name: str = "folder"
    suffixes: list[str] = Field(default=[".txt", ".md", ".markdown", ".rst", ".jsonl"], min_length=1)
    text_field: str = "text"
    id_field: str | None = None
    collection_field: str | None = None
    tenant_field: str | None = None
    session_field: str | None = None
    speaker_field: str | None = None
    time_field: str | None = None

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        file = self.file(item)
        if isinstance(file, Reject):
            yield file
        elif item.locator.lower().endswith(JSON_LINES):
            yield from self._json_lines(file, item.locator, max_document_bytes)
        else:
            data = content(file, item.locator, max_document_bytes)
            text = decode_text(data, item.locator) if isinstance(data, bytes) else data
            yield text if isinstance(text, Reject) else Document(item.locator, text, first_folder(item.locator))

    def _json_lines(self, file: BinaryIO, locator: str, limit: int) -> Iterator[Document | Reject]:
        seen = SeenIds()  # two documents at one place would be one row
        for entry in json_lines(file, locator, limit):
            if isinstance(entry, Reject):
                yield entry
                continue
            number, record = entry
            place = f"{locator}#{number}"
            try:
                document = self._document(record, locator, number)
            except Unusable as error:
                yield Reject(place, str(error), error.severity)
                continue
            if self.id_field is not None and not seen.add(hash_parts(document.locator)):
                yield Reject(place, f"Line {number} repeats the id of an earlier line; make ids unique.")
                continue
            yield document

    def _document(self, record: Any, locator: str, number: int) -> Document:
        if not isinstance(record, dict):
            raise Unusable(f"Line {number} is {kind_of(record)}, not an object; write one JSON object a line.")
        text = record.get(self.text_field)
        if not isinstance(text, str):
            stated_kind = kind_of(text) if self.text_field in record else "missing"
            raise Unusable(
                f"The field '{self.text_field}' of line {number} is {stated_kind}, not a string; name the right field"
                " with `text_field`, or correct the line."
            )
        if is_blank(text):
            raise Unusable(f"The field '{self.text_field}' of line {number} holds no text.", "empty")
        name = str(number) if self.id_field is None else _label(record, self.id_field, number)
        if not name:
            raise Unusable(f"The field '{self.id_field}' of line {number} is missing or empty; give each line an id.")
        stem = os.path.basename(locator).rpartition(".")[0]
        document = Document(
            locator=f"{locator}#{name}",
            text=text,
            collection=_label(record, self.collection_field, number) or first_folder(locator) or stem,
            tenant=_label(record, self.tenant_field, number),
            session=_label(record, self.session_field, number),
            speaker=_label(record, self.speaker_field, number),
            time=_time(record.get(self.time_field), number) if self.time_field is not None else None,
        )
        strings = (text, name, document.collection, document.tenant, document.session, document.speaker)
        if fault := next(filter(None, map(text_fault, strings)), ""):
            raise Unusable(f"Line {number} cannot be stored. {fault}")
        return document


def _label(record: dict[str, Any], field: str | None, number: int) -> str:
    return "" if field is None else label(record, field, f"line {number}")


def _time(value: object, number: int) -> datetime | None:
    """A time in UTC from ISO 8601 (UTC where it states no zone) or seconds since 1970; None where none is stated."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Unusable(
        f"The time of line {number} cannot be read ({shown(value)}); write ISO 8601, such as 2026-03-01T12:00:00Z, or"
        " seconds since 1970."
    )
