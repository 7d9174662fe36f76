"""Where documents come from: what a source promises, and which sources there are.

A source answers two questions. `manifest()` says what is there without reading it (locator, size, stamp), so that a
build of unchanged sources costs a listing and nothing more: 0.3 s for a Python environment whose 41,000 files take
36 s to read. `read(item)` turns one item into documents, and into a `Reject` for everything that it could not take, so
that nothing is lost in silence. Items are read on any worker in any order: a document depends on its item alone.

A package adds a source of its own by an entry point in the group `mnemic.sources`, whose name is the source's `kind`
and whose value is a pydantic model that fulfils `Source`:

    [project.entry-points."mnemic.sources"]
    mailbox = "my_package.mailbox:Mailbox"
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol, cast

from mnemic.errors import RecipeError

ENTRY_POINTS = "mnemic.sources"
"""Entry-point group in which other packages offer sources."""


@dataclass(frozen=True)
class Item:
    """Something that a source can read. Equal (locator, size, stamp) means: nothing new here."""

    locator: str  # relative to the source's root
    size: int  # bytes
    stamp: str  # modification time in nanoseconds, version, etag


@dataclass(frozen=True)
class Turn:
    """What one speaker says at once in a conversation: ``text[start:end]`` of its document, the speaker's name with it.

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
    """

    locator: str
    text: str
    collection: str = ""
    tenant: str = ""
    session: str = ""
    speaker: str = ""
    time: datetime | None = None
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Reject:
    """What could not become a document, and why."""

    locator: str
    reason: str
    severity: str = "reject"  # "empty": nothing to take, nothing wrong; "note": taken, but for what the reason tells


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
        """What there is to read, sorted by locator, read from listings alone.

        Raises `SourceError` if the source is missing or unreadable, or holds nothing that it can read.
        """

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        """The documents of an item, in an order that depends on the item alone; bad content is rejected, not raised."""


def text_fault(text: str) -> str:
    """Why ``text`` cannot be stored as text, as a sentence; "" if it can."""
    if "\0" in text:
        return "The text holds a NUL character, so it is binary data; leave it out or remove the character."
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return (
            f"The text holds a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, half of a"
            " character without a UTF-8 form of its own; write the whole character."
        )
    return ""


def is_blank(text: str) -> bool:
    """Whether nothing is to be seen: spaces, and format characters without width such as U+200B."""
    return all(character.isspace() or unicodedata.category(character) == "Cf" for character in text)


def decode_text(data: bytes, locator: str) -> str | Reject:
    """Text of a UTF-8 file, with or without a byte-order mark; line ends become ``\\n``. Blank text is a `Reject`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Reject(locator, "The file is UTF-16, not UTF-8; convert it with `iconv -f UTF-16 -t UTF-8`.")
    if b"\0" in data:
        return Reject(locator, f"The file is binary (a NUL at byte {data.index(0)}), not text; leave it out.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Reject(
            locator,
            f"The file is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} does not fit; convert it,"
            " for example with `iconv -f LATIN1 -t UTF-8`.",
        )
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if is_blank(text):
        return Reject(locator, "The file holds no text.", "empty")
    return text


def too_large(size: int, limit: int) -> str:
    return f"It is larger ({size:,} bytes) than a document may be ({limit:,}); raise `max_document_bytes` or split it."


def open_failed(error: OSError) -> str:
    """Why a file could not be read, as a sentence that never names an absolute path."""
    if isinstance(error, FileNotFoundError):
        return "The file, or what it links to, is not there; restore it, or mend the link."
    if isinstance(error, PermissionError):
        return "Reading the file is not permitted; give yourself the right with `chmod u+r`."
    reason = error.strerror or type(error).__name__
    return f"The file could not be read ({reason}); check the disk, `touch` the file, and build again."


def resolve_inside(path: str, root: str | None, locator: str) -> str | Reject:
    """The regular file that ``path`` leads to; a `Reject` where that lies outside ``root`` (a resolved folder)."""
    try:
        resolved = os.path.realpath(path, strict=True)
        if root is not None and os.path.commonpath((resolved, root)) != root:
            return Reject(locator, "The link leads outside the folder of the source; copy the file into the folder.")
        if not stat.S_ISREG(os.stat(resolved).st_mode):
            return Reject(locator, "It is not a regular file; leave it out.")
    except OSError as error:
        return Reject(locator, open_failed(error))
    return resolved


def read_bytes(path: str, root: str | None, locator: str, limit: int) -> bytes | Reject:
    """Content of the file at ``path`` (see `resolve_inside`) if it has at most ``limit`` bytes."""
    resolved = resolve_inside(path, root, locator)
    if isinstance(resolved, Reject):
        return resolved
    try:
        size = os.stat(resolved).st_size
        if size > limit:
            return Reject(locator, too_large(size, limit))
        with open(resolved, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        return Reject(locator, open_failed(error))
    return data if len(data) <= limit else Reject(locator, too_large(len(data), limit))


from pipelines.sources.conversations import Conversations  # noqa: E402  (the sources import the contracts above)
from pipelines.sources.folder import Folder  # noqa: E402
from pipelines.sources.python_environment import PythonEnvironment  # noqa: E402

SOURCES: dict[str, type] = {"folder": Folder, "conversations": Conversations, "python-environment": PythonEnvironment}
"""The built-in sources by kind."""


def find_source(kind: str) -> type[Source]:
    """The class of a source: a built-in one, or one that another package offers.

    Raises `RecipeError` for an unknown kind, naming the nearest known one, and for an entry point that cannot be used.
    """
    if kind in SOURCES:
        return cast(type[Source], SOURCES[kind])
    offered = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    known = sorted({*SOURCES, *offered})
    if kind not in offered:
        nearest = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else "is the package that offers it installed?"
        raise RecipeError(f"There is no source of kind '{kind}', only {', '.join(known)}; {hint}")
    point = offered[kind]
    try:
        found = point.load()
    except Exception as error:
        raise RecipeError(
            f"The source '{kind}' ({point.value}) cannot be imported ({type(error).__name__}: {error}); repair or"
            " uninstall the package that offers it."
        ) from error
    wanted = ("model_validate", "version", "identity", "manifest", "read")
    missing = [member for member in wanted if not hasattr(found, member)]
    if not isinstance(found, type) or missing:
        raise RecipeError(
            f"The source '{kind}' ({point.value}) is not a pydantic model with {', '.join(wanted[1:])}; see `Source` in"
            " pipelines/sources for what a source must have."
        )
    return cast(type[Source], found)
