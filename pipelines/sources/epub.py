"""Electronic books (EPUB): a chapter is a document, in the order of the book, and the book is its session.

Metadata: `book` (its title), `chapter` (its number in the spine), `title` of the chapter, `author`, `date`,
`language`, `description` and `tags` of the book. Books under DRM are rejects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.office import ZIP
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.whole import ApartFiles, document, replaced


class Books(ApartFiles):
    """EPUB below ``path``."""

    version: ClassVar[int] = 1
    library: ClassVar[str] = "resiliparse"

    kind: Literal["epub"] = "epub"
    name: str = "epub"
    suffixes: list[str] = Field(default=[".epub"], min_length=1)

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        for stated, text in parse_apart("pipelines.sources.parsers.epub", content, {}):
            place = f"{locator}#{stated.pop('file')}"
            fault, wrong = stated.pop("fault", ""), stated.pop("wrong", 0)
            if fault:
                yield Reject(place, fault)
                continue
            chapter = document(place, text, limit, stated, file=locator)
            yield chapter
            if isinstance(chapter, Document):
                yield from replaced(place, wrong)


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is an EPUB: its first member says so, or a container is among the first."""
    named = head[30:58] == b"mimetypeapplication/epub+zip" or name.lower().endswith(".epub")
    return head.startswith(ZIP) and (named or b"META-INF/container.xml" in head)
