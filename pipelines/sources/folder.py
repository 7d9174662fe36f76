"""A folder, a file or a glob: text files are documents, and so is each line of a JSON Lines file.

JSON Lines (jsonlines.org: UTF-8, one JSON value a line, `\\n` ends a line) is how corpora and conversations travel;
fields of a line say who spoke, when and in which session. A file is streamed, so that memory is bounded by one line
whatever the size of the file (3.1 MB at the peak for a file of 200 MB that ends in a line of 100 MB, with documents
limited to 1 MB), and a bad line costs that line alone.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mnemic.errors import SourceError
from mnemic.ids import hash_parts
from pipelines.sources import (
    Document,
    Item,
    Reject,
    decode_text,
    is_blank,
    open_failed,
    read_bytes,
    resolve_inside,
    text_fault,
)

JSON_LINES = (".jsonl", ".ndjson")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
MAGIC = frozenset("*?[")


class Folder(BaseModel):
    """Files below ``path`` (a folder, a file or a glob, relative to ``root``) whose names end in one of ``suffixes``.

    A file that ``path`` itself names is read whatever its suffix. Hidden files and folders are left out; links that
    lead out of the folder are rejected. The fields ``*_field`` name fields of JSON Lines records.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: ClassVar[int] = 1

    kind: Literal["folder"] = "folder"
    name: str = "folder"
    path: str = Field(min_length=1)
    root: str = "."
    suffixes: list[str] = Field(default=[".txt", ".md", ".markdown", ".rst", ".jsonl"], min_length=1)
    text_field: str = "text"
    id_field: str | None = None
    collection_field: str | None = None
    tenant_field: str | None = None
    session_field: str | None = None
    speaker_field: str | None = None
    time_field: str | None = None

    @field_validator("suffixes")
    @classmethod
    def _begin_with_a_dot(cls, suffixes: list[str]) -> list[str]:
        for suffix in suffixes:
            if not suffix.startswith("."):
                raise ValueError(f"The suffix '{suffix}' does not begin with a dot; write '.{suffix}'.")
        return suffixes

    def identity(self) -> Mapping[str, object]:
        """All fields but the place: of ``path`` only the glob's pattern below its fixed folder."""
        identity: dict[str, object] = self.model_dump(exclude={"name", "path", "root"})
        identity["suffixes"] = sorted(suffix.lower() for suffix in self.suffixes)
        return {**identity, "version": self.version, "pattern": self._place()[1]}

    def manifest(self) -> list[Item]:
        base, pattern = self._place()
        full = os.path.join(os.path.expanduser(self.root), os.path.expanduser(self.path))
        if not os.path.lexists(base):
            raise SourceError(
                f"The path '{full}' of the source '{self.name}' does not exist; correct `path`, which is taken relative"
                " to the folder of the recipe."
            )
        try:
            if os.path.isdir(base):
                items = list(_walk(base, pattern, tuple(suffix.lower() for suffix in self.suffixes)))
            else:
                items = [_item(os.path.basename(base), os.stat(base))]
                if not os.access(base, os.R_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), base)
        except OSError as error:
            raise SourceError(
                f"The path '{error.filename}' of the source '{self.name}' cannot be read ({error.strerror}); give"
                " yourself the right to read it, or take it out of the source."
            ) from error
        if not items:
            raise SourceError(
                f"The source '{self.name}' found no file under '{full}' whose name ends in"
                f" {', '.join(self.suffixes)}; correct `path`, or add the endings of your files to `suffixes`."
            )
        return sorted(items, key=lambda item: item.locator)

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        base, _ = self._place()
        named = not os.path.isdir(base)  # the person named the file, so where it links to is their choice
        path = base if named else os.path.join(base, item.locator)
        root = None if named else os.path.realpath(base)
        if item.locator.endswith("/"):
            yield Reject(item.locator, "The file's name is not UTF-8; rename it.")
        elif os.path.isdir(path):
            yield _folder_link(path, root or "", item.locator)
        elif item.locator.lower().endswith(JSON_LINES):
            file = resolve_inside(path, root, item.locator)
            yield from [file] if isinstance(file, Reject) else self._json_lines(file, item.locator, max_document_bytes)
        else:
            data = read_bytes(path, root, item.locator, max_document_bytes)
            text = decode_text(data, item.locator) if isinstance(data, bytes) else data
            yield text if isinstance(text, Reject) else Document(item.locator, text, _first_folder(item.locator))

    def _place(self) -> tuple[str, str]:
        """The path of the source's folder or file, and the glob's pattern below it ("" for none)."""
        full = os.path.normpath(os.path.join(os.path.expanduser(self.root), os.path.expanduser(self.path)))
        given = PurePosixPath(os.path.normpath(os.path.expanduser(self.path))).parts
        first = next((index for index, part in enumerate(given) if MAGIC & set(part)), None)
        if first is None or os.path.lexists(full):  # a file may be called "notes[1].md"
            return full, ""
        base = os.path.join(os.path.expanduser(self.root), *given[:first])
        return os.path.normpath(base), "/".join(given[first:])

    def _json_lines(self, path: str, locator: str, limit: int) -> Iterator[Document | Reject]:
        seen: set[int] = set()  # 64-bit hashes of ids: two documents at one place would be one row
        blank = True
        try:
            with open(path, "rb") as file:
                for number, line in enumerate(_lines(file, limit), start=1):
                    place = f"{locator}#{number}"
                    if number == 1 and line.startswith(UTF_16):
                        yield Reject(
                            locator, "The file is UTF-16, not UTF-8; convert it with `iconv -f UTF-16 -t UTF-8`."
                        )
                        return
                    too_long = len(line.rstrip(b"\r\n")) > limit
                    if not too_long and not line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
                        continue
                    blank = False
                    if too_long:
                        yield Reject(
                            place,
                            f"Line {number} is longer than a document may be ({limit:,} bytes); raise"
                            " `max_document_bytes` or split the line.",
                        )
                        continue
                    try:
                        document = self._document(_parse(line, number), locator, number)
                    except _Unusable as error:
                        yield Reject(place, str(error), error.severity)
                        continue
                    if self.id_field is not None:
                        key = int(hash_parts(document.locator)[:16], 16)
                        if key in seen:
                            yield Reject(place, f"Line {number} repeats the id of an earlier line; make ids unique.")
                            continue
                        seen.add(key)
                    yield document
        except OSError as error:
            yield Reject(locator, open_failed(error))
            return
        if blank:
            yield Reject(locator, "The file holds no lines.", "empty")

    def _document(self, record: Any, locator: str, number: int) -> Document:
        if not isinstance(record, dict):
            raise _Unusable(f"Line {number} is {_kind(record)}, not an object; write one JSON object a line.")
        text = record.get(self.text_field)
        if not isinstance(text, str):
            found = _kind(text) if self.text_field in record else "missing"
            raise _Unusable(
                f"The field '{self.text_field}' of line {number} is {found}, not a string; name the right field with"
                " `text_field`, or correct the line."
            )
        if is_blank(text):
            raise _Unusable(f"The field '{self.text_field}' of line {number} holds no text.", "empty")
        name = str(number) if self.id_field is None else _label(record, self.id_field, number)
        if not name:
            raise _Unusable(f"The field '{self.id_field}' of line {number} is missing or empty; give each line an id.")
        stem = os.path.basename(locator).rpartition(".")[0]
        document = Document(
            locator=f"{locator}#{name}",
            text=text,
            collection=_label(record, self.collection_field, number) or _first_folder(locator) or stem,
            tenant=_label(record, self.tenant_field, number),
            session=_label(record, self.session_field, number),
            speaker=_label(record, self.speaker_field, number),
            time=_time(record.get(self.time_field), number) if self.time_field is not None else None,
        )
        strings = (text, name, document.collection, document.tenant, document.session, document.speaker)
        if fault := next(filter(None, map(text_fault, strings)), ""):
            raise _Unusable(f"Line {number} cannot be stored. {fault}")
        return document


class _Unusable(Exception):
    """A line that cannot become a document."""

    def __init__(self, reason: str, severity: str = "reject") -> None:
        super().__init__(reason)
        self.severity = severity


def _walk(base: str, pattern: str, suffixes: tuple[str, ...]) -> Iterator[Item]:
    """Files below ``base`` that fit, and links to folders, which are not followed but must not be lost in silence."""
    parts = tuple(pattern.split("/")) if pattern else ("**",)
    pending: list[tuple[str, ...]] = [()]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(base, *folder)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path, link = (*folder, entry.name), entry.is_symlink()
                try:
                    directory, regular = entry.is_dir(), entry.is_file()
                except OSError:  # a link in a circle
                    directory, regular = False, False
                if directory and _may_hold(path, parts):
                    if link:
                        yield _item("/".join(path), entry.stat(follow_symlinks=False))
                    else:
                        pending.append(path)
                # A link that leads nowhere is listed too, so that reading it says so.
                suits = not directory and (regular or link) and entry.name.lower().endswith(suffixes)
                if suits and _fits(path, parts):
                    readable = not regular or os.access(entry.path, os.R_OK)
                    yield _item("/".join(path), entry.stat(follow_symlinks=regular), readable)


def _fits(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a file's path fits a glob, where `**` stands for any number of folders (and, at the end, any file)."""
    if not pattern or not path:
        return not pattern and not path
    if pattern[0] == "**":
        return len(pattern) == 1 or any(_fits(path[skip:], pattern[1:]) for skip in range(len(path)))
    return fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def _may_hold(folder: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether files below a folder can fit a glob."""
    for index, name in enumerate(folder):
        if pattern[index] == "**":
            return True
        if index + 1 >= len(pattern) or not fnmatchcase(name, pattern[index]):
            return False
    return True


def _item(locator: str, status: os.stat_result, readable: bool = True) -> Item:
    """Names that are not UTF-8 are escaped and end in "/", as no file's name does; `read` rejects them."""
    name = os.fsencode(locator)
    printable = name.decode("utf-8", "backslashreplace")
    if printable.encode() != name:
        printable += "/"
    # Rights are in the stamp, since giving them leaves the time as it is, and the file is to be read then.
    return Item(printable, status.st_size, f"{status.st_mtime_ns}{'' if readable else ' unreadable'}")


def _folder_link(path: str, root: str, locator: str) -> Reject:
    if os.path.commonpath((os.path.realpath(path), root)) == root:
        return Reject(
            locator, "The link leads to a folder of the source; its files are read where they stand.", "empty"
        )
    return Reject(locator, "The link leads outside the folder of the source; copy the files into the folder.")


def _first_folder(locator: str) -> str:
    return locator.partition("/")[0] if "/" in locator else ""


def _lines(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Lines with their ends. Of a line of more than ``limit`` bytes only the beginning is kept, ``limit`` + 3 bytes."""
    while line := file.readline(limit + 3):
        rest = line
        while len(line) == limit + 3 and rest and not rest.endswith(b"\n"):
            rest = file.readline(1 << 16)
        yield line


def _parse(line: bytes, number: int) -> Any:
    cut = "" if line.endswith(b"\n") else " The file seems cut off, since its last line has no end; copy it again."
    try:
        return json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise _Unusable(
            f"Line {number} is not UTF-8: byte 0x{line[error.start]:02x} at offset {error.start} of the line does not"
            f" fit; convert the file, for example with `iconv -f LATIN1 -t UTF-8`.{cut}"
        ) from error
    except RecursionError as error:
        raise _Unusable(f"Line {number} is nested too deeply; flatten its record.") from error
    except json.JSONDecodeError as error:
        where = f"{error.msg} at character {error.pos}"
        raise _Unusable(f"Line {number} is not JSON ({where}).{cut or ' Correct the line.'}") from error
    except ValueError as error:
        raise _Unusable(f"Line {number} holds a number of too many digits; write it as a string.") from error


def _kind(value: object) -> str:
    """The JSON type of a value, in words."""
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "null")


def _label(record: Mapping[str, Any], field: str | None, number: int) -> str:
    """A field that names something, "" where it is missing or null."""
    value = record.get(field) if field is not None else None
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unusable(
            f"The field '{field}' of line {number} is {_kind(value)}; make it a string or a whole number, or null."
        )
    return str(value)


def _time(value: object, number: int) -> datetime | None:
    """A time in UTC from ISO 8601 (UTC where it states no zone) or seconds since 1970; None where none is stated."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value.strip())
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    shown = f"'{value[:40]}'" if isinstance(value, str) else f"{value}"[:40] if type(value) is int else _kind(value)
    raise _Unusable(
        f"The time of line {number} cannot be read ({shown}); write ISO 8601, such as 2026-03-01T12:00:00Z, or seconds"
        " since 1970."
    )
