"""An export of Notion, Markdown or HTML, as a folder or as the zip that Notion sends: a page is a document.

The properties of a database's page become metadata under lower-case names, beside `title`; `date` and the page's time
are what `Created`, `Created time` or `Date` state. Tables of a database repeat its pages and are left out, as are
images and files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.archives import Archives
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.text import content, decode_text
from pipelines.sources.whole import document

_ID = re.compile(r"(?:^| )[0-9a-f]{32}(?=[./]|$)|(?:^| )[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=[./]|$)")
_PROPERTY = re.compile(r"([^\W_][\w /()&'-]{0,59}): (\S.*)")
_DATES = ("created", "created_time", "date")
_LISTS = ("tags", "multi_select", "aliases")


class NotionExport(Archives):
    """The pages of an export at ``path``: the zip, or the folder that it unpacks to."""

    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[str]] = frozenset({"markdown", "folder", "html", "archive"})

    kind: Literal["notion"] = "notion"  # type: ignore[assignment]
    name: str = "notion"
    suffixes: list[str] = Field(default=[".zip", ".md", ".html"], min_length=1)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        if locator.lower().endswith(".zip"):
            yield from super().documents(file, locator, max_document_bytes)
        else:
            yield from self.member(file, locator, locator, max_document_bytes)

    def member(self, file: BinaryIO, name: str, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        ending = os.path.splitext(name)[1].lower()
        collection = _plain(name.partition("/")[0]) if "/" in name else ""
        if ending == ".md":
            data = content(file, locator, max_document_bytes)
            text = decode_text(data, locator) if isinstance(data, bytes) else data
            page = (
                text if isinstance(text, Reject) else document(locator, text, max_document_bytes, _stated(text, name))
            )
            yield page if isinstance(page, Reject) else replace(page, collection=collection)
        elif ending == ".html":
            for result in super().member(file, os.path.basename(name), locator, max_document_bytes):
                yield result if isinstance(result, Reject) else replace(result, collection=collection)
        else:
            file.close()
            yield Reject(locator, "It is no page of Notion; name it in a source of its own to read it.", "empty")


def _stated(text: str, name: str) -> dict[str, Any]:
    """The title of a page, and the lines `Name: value` right below it, which are its properties."""
    lines = iter(text.split("\n"))
    first = next(lines, "")
    stated: dict[str, Any] = {"title": _plain(os.path.splitext(os.path.basename(name))[0])}
    if first.startswith("# "):
        stated["title"] = first[2:].strip()[:2000]
        for line in lines:
            if not line.strip():
                if len(stated) > 1:
                    break
                continue
            match = _PROPERTY.fullmatch(line.strip())
            if match is None:
                break
            field = re.sub(r"\W+", "_", match[1].strip().lower()).strip("_")
            value = match[2].strip()[:2000]
            stated.setdefault(field, [part.strip() for part in value.split(",")] if field in _LISTS else value)
    date = next((stated[field] for field in _DATES if field in stated), "")
    return {**stated, "date": date} if date else stated


def _plain(name: str) -> str:
    """A name without the id that Notion writes behind it."""
    return _ID.sub("", name).strip() or name


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is the zip of an export: its members' names, or its own, end in Notion's ids."""
    if not head.startswith(b"PK\x03\x04") or not name.lower().endswith(".zip"):
        return False
    page = re.search(rb" [0-9a-f]{32}(?:\.md|\.html|\.csv|/)", head)
    return page is not None or (b"ExportBlock-" in head and b"-Part-" in head)


def recognise_folder(path: str, names: Collection[str]) -> bool:
    """Whether a folder is an export: pages whose names end in ids."""
    return any(re.search(r" [0-9a-f]{32}\.(?:md|html)$", name) for name in names)
