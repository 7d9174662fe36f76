"""A source: logbooks, whose lines say when, who and what.

    2026-03-02 09:30 Ada: I mended the parser.

A line is a document. `Files` lists the files below ``path``, relative to the recipe; this class says how one is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field

from mnemic.contracts import Document, Files, Item, Reject, content, decode_text

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d) ([^:]+): (.+)")


class Logbook(Files):
    """Lines of the files below ``path``; times are in UTC."""

    version: ClassVar[int] = 1  # raise it when the same files give other documents

    kind: Literal["logbook"] = "logbook"
    name: str = "logbook"
    suffixes: list[str] = Field(default=[".log"], min_length=1)
    skip_speakers: tuple[str, ...] = ()  # whose lines are left out

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        file = self.file(item)
        data = file if isinstance(file, Reject) else content(file, item.locator, max_document_bytes)
        text = data if isinstance(data, Reject) else decode_text(data, item.locator)
        if isinstance(text, Reject):
            yield text
            return
        for number, line in enumerate(text.splitlines(), start=1):
            locator = f"{item.locator}#{number}"
            if not line.strip():
                continue
            try:
                yield from self._documents(line, locator, item)
            except ValueError:
                yield Reject(locator, "The line has no time, speaker and text; write `2026-03-02 09:30 Ada: ...`.")

    def _documents(self, line: str, locator: str, item: Item) -> Iterator[Document]:
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(line)
        when, speaker, text = match.groups()
        time = datetime.strptime(when, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
        if speaker not in self.skip_speakers:
            yield Document(locator, text, collection=item.locator, speaker=speaker, time=time)
