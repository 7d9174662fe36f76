"""A folder, a file or a glob: text files are documents, and so is each line of a JSON Lines file.

JSON Lines are how corpora travel; fields of a line say who spoke, when and in which session. A file is streamed, and a
bad line costs that line alone. For conversations there is the source `conversations`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.ids import hash_parts
from pipelines.seen import SeenIds
from pipelines.sources.contracts import Document, FilePart, Item, Reject
from pipelines.sources.fields import Records, first_folder
from pipelines.sources.json_values import JSON_LINES, MARK, Unusable, json_lines, kind_of
from pipelines.sources.parts import lines, located
from pipelines.sources.proposal import fields_of
from pipelines.sources.recognise import marked_up, recognised
from pipelines.sources.text import content, decode_text

TEXT_KINDS = frozenset({"folder", "markdown", "obsidian", "code"})
"""Formats that are text as they stand, also where another source knows more of them."""

_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex", ".log", *JSON_LINES)


def recognise(name: str, head: bytes) -> bool:
    """Text in UTF-8 under a name that says so, or one without an ending; or JSON Lines."""
    ending = os.path.splitext(name)[1].lower()
    if ending not in (*_SUFFIXES, "") or b"\0" in head or not head.strip() or marked_up(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # the head ends inside a character
    return True


def propose(path: str, name: str, head: bytes) -> dict[str, object]:
    """The fields of JSON Lines that are the text, the id and the time, by what the first lines hold."""
    if not name.lower().endswith(JSON_LINES):
        return {}
    records = []
    for line in head.removeprefix(MARK).splitlines()[:200]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            records.append(value)
    return fields_of(records)


class Folder(Records):
    """Files below ``path`` (a folder, a file or a glob, relative to ``root``) whose names end in one of ``suffixes``.

    A file that ``path`` itself names is read whatever its suffix. Hidden files and folders are left out; links that
    lead out of the folder are rejected. The fields ``*_field`` name fields of JSON Lines records.
    """

    version: ClassVar[int] = 1
    parts: ClassVar[tuple[str, ...]] = JSON_LINES

    kind: Literal["folder"] = "folder"
    name: str = "folder"
    suffixes: list[str] = Field(default=[".txt", ".md", ".markdown", ".rst", ".jsonl"], min_length=1)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        if locator.lower().endswith(JSON_LINES):
            yield from self._json_lines(file, locator, max_document_bytes, None)
            return
        data = content(file, locator, max_document_bytes)
        text = decode_text(data, locator) if isinstance(data, bytes) else data
        yield text if isinstance(text, Reject) else Document(locator, text, first_folder(locator))

    def documents_of_part(
        self, file: BinaryIO, locator: str, part: FilePart, max_document_bytes: int
    ) -> Iterator[Document | Reject]:
        yield from self._json_lines(file, locator, max_document_bytes, part)

    def located(self, items: Iterable[Item]) -> Iterator[Item]:
        items = list(items)
        return located(self.file(items[0]), items, lines)

    def other(self, locator: str, head: bytes) -> Reject | None:
        """Another format is no plain text, even where its letters can be read."""
        form = recognised(os.path.basename(locator), head)
        phrase = marked_up(head)
        if phrase and (form is None or form.kind in TEXT_KINDS):
            return Reject(locator, f"It is {phrase}, and no plain text; convert it to text or HTML, or leave it out.")
        if self.others == "leave":
            return self.left(locator, form)
        lines = locator.lower().endswith(JSON_LINES)
        if form is None or form.kind in TEXT_KINDS or (lines and form.kind == "conversations"):
            return None
        return Reject(
            locator,
            f"It is {form.title}, and no plain text; read it with a source of `kind: {form.kind}`, or leave it out.",
        )

    def _json_lines(
        self, file: BinaryIO, locator: str, limit: int, part: FilePart | None
    ) -> Iterator[Document | Reject]:
        seen = SeenIds()  # two documents at one place would be one row
        for entry in json_lines(file, locator, limit, part=part):
            if isinstance(entry, Reject):
                yield entry
                continue
            number, record = entry
            place = f"{locator}#{number}"
            try:
                document = self.document(_object(record, number), locator, number, f"line {number}")
            except Unusable as error:
                yield Reject(place, str(error), error.severity)
                continue
            if self.id_field is not None and not seen.add(hash_parts(document.locator)):
                yield Reject(place, f"Line {number} repeats the id of an earlier line; make ids unique.")
                continue
            yield document


def _object(record: Any, number: int) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise Unusable(f"Line {number} is {kind_of(record)}, not an object; write one JSON object a line.")
    return record
