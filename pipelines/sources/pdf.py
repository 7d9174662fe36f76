"""The text of PDF files; nothing is recognised in images.

A file is one document. Running titles and page numbers are cut, words that a line's end parts are joined. Metadata:
`title`, `author`, `date`, `description`, `tags` as the file states them, and `pages`: where each page begins in the
text. A page without text is told, and a file without any is a reject, as is an encrypted one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.parsers.process import Content, parse_apart
from pipelines.sources.whole import ApartFiles, document, left_out


class PortableDocuments(ApartFiles):
    """PDF below ``path``."""

    version: ClassVar[int] = 1
    library: ClassVar[str] = "pypdfium2"

    kind: Literal["pdf"] = "pdf"
    name: str = "pdf"
    suffixes: list[str] = Field(default=[".pdf"], min_length=1)

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        for stated, text in parse_apart("pipelines.sources.parsers.pdf", content, {}):
            count, empty, broken = stated.pop("count"), stated.pop("empty"), stated.pop("broken")
            if len(empty) + len(broken) == count:
                reason = (
                    "None of its pages can be read; save it anew."
                    if broken
                    else "None of its pages has text, so it is scanned or drawn; recognise its text with a program such"
                    " as ocrmypdf."
                )
                yield Reject(locator, reason)
                continue
            result = document(locator, text, limit, stated)
            yield result
            if isinstance(result, Document):
                yield from left_out(
                    locator, f"{count:,} pages", empty, "have no text and seem scanned; recognise it with OCR"
                )
                yield from left_out(locator, f"{count:,} pages", broken, "are damaged; save the file anew")


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is a PDF; viewers allow other bytes before its mark."""
    return b"%PDF-" in head[:1024] and (head.startswith(b"%PDF-") or name.lower().endswith(".pdf"))
