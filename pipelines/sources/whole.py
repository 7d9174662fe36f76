"""Files that are read at once, since their format has no beginning that means something without its end.

What such a format states of a text goes into the document's ``metadata``; a recipe names what becomes columns.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import BinaryIO

from pydantic import Field

from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.fields import first_folder
from pipelines.sources.files import Files, need
from pipelines.sources.parsers.process import Content, OpenFile, Unparsed
from pipelines.sources.text import is_blank, open_failed, text_fault, too_large
from pipelines.sources.times import read_time


class WholeFiles(Files):
    """Files of at most ``max_bytes`` below ``path`` (a folder, a file or a glob, relative to ``root``).

    A file that ``path`` itself names is read whatever its suffix.
    """

    max_bytes: int = Field(default=100_000_000, gt=0)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        _need_once(self.library, self.kind)  # what unpacks a file for this source has asked for no manifest
        with file:
            try:
                content = self.content(file)
            except OSError as error:
                yield Reject(locator, open_failed(error))
                return
            size = content.size if isinstance(content, OpenFile) else len(content)
            if size > self.max_bytes:
                reason = f"The file is larger than one may be that is read at once ({self.max_bytes:,} bytes)"
                yield Reject(locator, f"{reason}; raise `max_bytes`, or split it.")
            elif not size:
                yield Reject(locator, "The file is empty.", "empty")
            else:
                try:
                    yield from self.parse(content, locator, max_document_bytes)
                except Unparsed as error:
                    yield Reject(locator, str(error))

    def content(self, file: BinaryIO) -> Content:
        """What `parse` gets of an open file: at most one byte more than may be."""
        return _at_most(file, self.max_bytes + 1)

    def parse(self, content: Content, locator: str, limit: int) -> Iterator[Document | Reject]:
        """The documents of a file's content, each of at most ``limit`` bytes, and its rejects.

        Raises `Unparsed` where it gives no more.
        """
        assert isinstance(content, bytes)
        yield from self.parse_bytes(content, locator, limit)

    def parse_bytes(self, data: bytes, locator: str, limit: int) -> Iterator[Document | Reject]:
        """As `parse`, of a content that was read."""
        raise NotImplementedError(f"{type(self).__name__} does not say what is in a file; write `parse_bytes`.")


class ApartFiles(WholeFiles):
    """Files that a process of its own takes apart; an open file is handed to it."""

    def file(self, item: Item) -> BinaryIO | Reject:
        """As of all files; the beginning is read here only where another source may have it."""
        return self._opened(item) if self.others == "read" else super().file(item)

    def content(self, file: BinaryIO) -> Content:
        try:
            descriptor = file.fileno()
        except OSError:  # it stands in memory
            return super().content(file)
        return OpenFile(descriptor, os.fstat(descriptor).st_size)


@functools.cache
def _need_once(library: str, kind: str) -> None:
    need(library, f"a source of `kind: {kind}`")


def _at_most(file: BinaryIO, size: int) -> bytes:
    """The first ``size`` bytes; a buffer of that size at once would cost more than a small file."""
    pieces = []
    while size and (piece := file.read(min(size, 1 << 20))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def document(locator: str, text: str, limit: int, metadata: Mapping[str, object], file: str = "") -> Document | Reject:
    """A document of what a format gives, or why it is none. A ``date`` in the metadata is its time, if it is one.

    ``file`` is where a file of many documents is, a session of which each is a part.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if is_blank(text):
        return Reject(locator, "It holds no text.", "empty")
    if fault := text_fault(text):
        return Reject(locator, fault)
    size = len(text.encode())
    if size > limit:
        return Reject(locator, too_large(size, limit))
    time = metadata.get("date")
    if isinstance(time, str):
        time = read_time(time)
    stated = {name: value for name, value in metadata.items() if value not in (None, "", [])}
    if isinstance(time, datetime):
        stated["date"] = time
    return Document(
        locator,
        text,
        first_folder(file or locator),
        session=file,
        time=time if isinstance(time, datetime) else None,
        metadata={name: _storable(value) for name, value in stated.items()},
    )


def left_out(locator: str, of: str, numbers: list[int], why: str) -> Iterator[Reject]:
    """What is said of a document of which some pages or slides, ``numbers`` from 1 on, could not be read."""
    if numbers:
        yield Reject(locator, f"{len(numbers):,} of {of} (the first is {numbers[0]}) {why}.", "note")


def replaced(locator: str, wrong: int) -> Iterator[Reject]:
    """What is said of a page in which ``wrong`` characters did not fit its encoding."""
    if wrong:
        reason = f"{wrong:,} characters do not fit the page's encoding and were replaced; save it as UTF-8."
        yield Reject(locator, reason, "note")


def _storable(value: object) -> object:
    """Strings without what UTF-8 has no form for."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    return [_storable(entry) for entry in value] if isinstance(value, list) else value
