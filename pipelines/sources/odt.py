"""Texts of OpenDocument (.odt, or one file of XML, .fodt): headings, paragraphs, lists, tables by rows, and notes.

Images, comments, deleted passages, tables of contents, headers and footers are left out, and macros are not looked at.
Metadata: `title`, `author`, `date`, `language`, `description` and `tags`, as far as the file states them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.office import ZIP, open_document
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.whole import ApartFiles, document

_TEXT = b"application/vnd.oasis.opendocument.text"


class OpenDocuments(ApartFiles):
    """Texts of OpenDocument below ``path``."""

    version: ClassVar[int] = 1

    kind: Literal["odt"] = "odt"
    name: str = "odt"
    suffixes: list[str] = Field(default=[".odt", ".ott", ".fodt"], min_length=1)
    max_bytes: int = Field(default=50_000_000, gt=0)

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        for stated, text in parse_apart("pipelines.sources.parsers.odt", content, {}):
            yield document(locator, text, limit, stated)


def recognise(name: str, head: bytes) -> bool:
    """Whether a file says that it is a text of OpenDocument; the name decides where a zip says nothing first."""
    if head.startswith(ZIP):
        stated = open_document(head)
        return stated.startswith(_TEXT) if stated else name.lower().endswith((".odt", ".ott"))
    return b"<office:document" in head[:4096] and _TEXT in head[:16384]
