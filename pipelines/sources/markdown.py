"""Markdown with front matter: the text without it, and its fields as metadata.

A file is one document. Metadata are the fields of the front matter, under lower-case names (`title`, `tags`, `aliases`,
`date`, `author` and whatever else it states); without a title there the first heading is one. Front matter that cannot
be read stays in the text, and is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.front_matter import parted
from pipelines.sources.text import decode_text
from pipelines.sources.whole import WholeFiles, document

SUFFIXES = (".md", ".markdown", ".mdown", ".mkd", ".mdx")
_HEADING = re.compile(r"^ {0,3}#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)


class MarkdownFiles(WholeFiles):
    """Files of Markdown below ``path``; what more a tool states of them is `stated`."""

    version: ClassVar[int]

    def parse_bytes(self, data: bytes, locator: str, limit: int) -> Iterator[Document | Reject]:
        text = decode_text(data, locator)
        if isinstance(text, Reject):
            yield text
            return
        fields, body, fault = parted(text)
        yield document(locator, body, limit, self.stated(fields, body, locator))
        if fault:
            yield Reject(locator, fault, "note")

    def stated(self, fields: dict[str, Any], text: str, locator: str) -> dict[str, Any]:
        """The metadata of a file whose front matter has ``fields``."""
        heading = first_heading(text)
        return {"title": heading, **fields} if heading else fields


class Markdown(MarkdownFiles):
    """Markdown below ``path``."""

    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[str]] = frozenset({"folder"})

    kind: Literal["markdown"] = "markdown"
    name: str = "markdown"
    suffixes: list[str] = Field(default=list(SUFFIXES), min_length=1)


def first_heading(text: str) -> str:
    """The first heading of the first level before any code, "" for none."""
    heading, fence = _HEADING.search(text), _FENCE.search(text)
    return heading[1][:2000] if heading and (fence is None or heading.start() < fence.start()) else ""


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is Markdown by its name: any text can be it."""
    return name.lower().endswith(SUFFIXES) and b"\0" not in head
