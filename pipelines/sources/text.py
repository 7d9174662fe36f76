"""Text from files, or the reason why there is none, as a `Reject`."""

from __future__ import annotations

import os
import unicodedata
from typing import BinaryIO

from mnemic.opening import NotRegular, Swapped, open_regular
from pipelines.sources.contracts import Reject


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


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file, which may stand in memory, as what came out of an archive does."""
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, AttributeError):  # no file of the system
        place = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(place)
        return size


def too_large(size: int, limit: int) -> str:
    return f"It is larger ({size:,} bytes) than a document may be ({limit:,}); raise `max_document_bytes` or split it."


def open_failed(error: OSError) -> str:
    """Why a file could not be read, as a sentence that never names an absolute path."""
    if isinstance(error, NotRegular):
        return "It is not a regular file; leave it out."
    if isinstance(error, Swapped):
        return "Something else was put in the place of the file, or of a folder above it, meanwhile; build again."
    if isinstance(error, FileNotFoundError):
        return "The file, or what it links to, is not there; restore it, or mend the link."
    if isinstance(error, PermissionError):
        return "Reading the file is not permitted; give yourself the right with `chmod u+r`."
    reason = error.strerror or type(error).__name__
    return f"The file could not be read ({reason}); check the disk, `touch` the file, and build again."


def open_file(path: str, root: str | None, locator: str) -> BinaryIO | Reject:
    """The regular file that ``path`` leads to, open; a `Reject` where that lies outside ``root`` (a resolved folder).

    Links are followed where they lead at first, and to nowhere else: see `mnemic.opening`.
    """
    resolved = resolve_inside(path, root, locator)
    if isinstance(resolved, Reject):
        return resolved
    try:
        return open_regular(resolved, root)
    except OSError as error:
        return Reject(locator, open_failed(error))


def resolve_inside(path: str, root: str | None, locator: str) -> str | Reject:
    """Where ``path`` leads, without links; a `Reject` where that lies outside ``root`` (a resolved folder)."""
    try:
        resolved = os.path.realpath(path, strict=True)
    except OSError as error:
        return Reject(locator, open_failed(error))
    except ValueError:  # a NUL
        return Reject(locator, "The file's name holds a NUL character, as no file's does; correct it.")
    if root is not None and os.path.commonpath((resolved, root)) != root:
        return Reject(locator, "The link leads outside the folder of the source; copy the file into the folder.")
    return resolved


def read_bytes(path: str, root: str | None, locator: str, limit: int) -> bytes | Reject:
    """Content of the file at ``path`` (see `open_file`) if it has at most ``limit`` bytes."""
    file = open_file(path, root, locator)
    return file if isinstance(file, Reject) else content(file, locator, limit)


def content(file: BinaryIO, locator: str, limit: int) -> bytes | Reject:
    """Content of an open file if it has at most ``limit`` bytes; closes it."""
    with file:
        try:
            size = size_of(file)
            if size > limit:
                return Reject(locator, too_large(size, limit))
            data = file.read(limit + 1)
        except OSError as error:
            return Reject(locator, open_failed(error))
    return data if len(data) <= limit else Reject(locator, too_large(len(data), limit))
