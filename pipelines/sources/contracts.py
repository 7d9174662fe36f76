"""The contract of a source, and its results: items, documents, rejects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, Protocol


@dataclass(frozen=True, slots=True)
class FilePart:
    """One of the ``of`` parts of a large file, numbered from 0 on.

    Where a part begins is settled by what is before it: ``begin`` and ``end`` are bytes, ``first`` is the number of its
    first record, and an ``end`` of 0 says that nobody looked yet (`Files.located`).
    """

    number: int
    of: int
    begin: int = 0
    end: int = 0
    first: int = 1


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a source can read. Equal (locator, size, stamp, part) means: nothing new here."""

    locator: str  # relative to the source's root
    size: int  # bytes; of the whole file for a part of one
    stamp: str  # modification time in nanoseconds, version, etag
    part: FilePart | None = None


@dataclass(frozen=True)
class Turn:
    """The uninterrupted text of one speaker of a conversation: ``text[start:end]`` of its document, with the speaker's
    name.

    ``id`` is the source's own, or the turn's number in its session.
    """

    id: str
    start: int
    end: int
    speaker: str = ""
    time: datetime | None = None


@dataclass(frozen=True)
class Document:
    """A text, and what the source itself says about it. ``time`` has a zone and is never a file's modification time.

    ``turns`` are a conversation's, in order and without overlap; what is between two of them is white space.
    ``metadata`` is what the format states beside the text, under short lower-case names (title, author, date, language,
    url, tags, or the fields of a record): texts, numbers, times or lists of texts. Of it a bank keeps only what the
    recipe names in `columns`.
    """

    locator: str
    text: str
    collection: str = ""
    tenant: str = ""
    session: str = ""
    speaker: str = ""
    time: datetime | None = None
    turns: tuple[Turn, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


Severity = Literal["reject", "empty", "note"]
"""Of a `Reject`. "empty": nothing to read and nothing wrong; "note": read, without the part that the reason names."""


@dataclass(frozen=True)
class Reject:
    """An input, or a part of one, that could not become a document, with the reason."""

    locator: str
    reason: str
    severity: Severity = "reject"


class Source(Protocol):
    """A frozen pydantic model that forbids unknown fields; a literal field ``kind`` names it in a recipe."""

    version: ClassVar[int]

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str:
        """Names the source in the recipe; part of the ids of its documents."""

    def identity(self) -> Mapping[str, object]:
        """The fields that decide what is read, as JSON values. No absolute paths: a corpus may move."""

    def manifest(self) -> list[Item]:
        """The items to read, sorted by locator, from listings alone.

        Raises `SourceError` if the source is missing or unreadable, or holds nothing that it can read.
        """

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        """The documents of an item, in an order that depends on the item alone; bad content is rejected, not raised."""
