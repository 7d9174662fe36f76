"""Presentations (.pptx): the text of the slides in their order, tables by rows, and the speaker's notes.

A file is one document. Metadata: `title`, `author`, `date`, `language`, `description`, `tags` as the file states them,
and `pages`: where each slide begins in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.office import is_office
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.whole import ApartFiles, document, left_out


class Slides(ApartFiles):
    """Presentations below ``path``. ``notes``: take the speaker's notes behind each slide."""

    version: ClassVar[int] = 1

    kind: Literal["pptx"] = "pptx"
    name: str = "pptx"
    suffixes: list[str] = Field(default=[".pptx", ".pptm", ".ppsx"], min_length=1)
    notes: bool = True

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        for stated, text in parse_apart("pipelines.sources.parsers.pptx", content, {"notes": self.notes}):
            count, broken = stated.pop("count"), stated.pop("broken")
            yield document(locator, text, limit, stated)
            yield from left_out(locator, f"{count:,} slides", broken, "are damaged; save the file anew")


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is a presentation of today."""
    return is_office(name, head, b"ppt/", (".pptx", ".pptm", ".ppsx"))
