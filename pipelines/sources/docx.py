"""Word documents (.docx): the text with its headings, lists, tables and notes.

Images, comments, headers, footers and macros are left out. Metadata: `title`, `author`, `date`, `language`,
`description` and `tags`, as far as the file states them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.files import need
from pipelines.sources.office import is_office
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.whole import ApartFiles, document


class WordDocuments(ApartFiles):
    """Word documents below ``path``."""

    version: ClassVar[int] = 1
    library: ClassVar[str] = "mammoth"

    kind: Literal["docx"] = "docx"
    name: str = "docx"
    suffixes: list[str] = Field(default=[".docx", ".docm"], min_length=1)
    max_bytes: int = Field(default=50_000_000, gt=0)

    def manifest(self) -> list[Item]:
        need("resiliparse", f"the source '{self.name}' (`kind: {self.kind}`)")
        return super().manifest()

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        for stated, text in parse_apart("pipelines.sources.parsers.docx", content, {}):
            yield document(locator, text, limit, stated)


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is a Word document of today."""
    return is_office(name, head, b"word/", (".docx", ".docm"))
