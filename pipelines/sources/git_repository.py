"""A git repository at a revision: its files, each by the reader of its kind, and if asked its commit messages.

An item is a file, and its stamp is the hash that git has of its content. So a new revision costs only those files that
changed, whatever the times on the disk.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.errors import SourceError
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.git_objects import commit_of, files_of, git_folder, objects, output
from pipelines.sources.inside import Inside
from pipelines.sources.text import decode_text, text_fault, too_large

SUBMODULE, LINK = "160000", "120000"
COMMITS = ".git/commits"
"""Locator of the item that all commit messages are."""

_POINTER = b"version https://git-lfs.github.com/spec/"
_PERSON = re.compile(r"(?P<name>.*?) <(?P<mail>[^>]*)> (?P<seconds>-?[0-9]{1,12}) (?P<zone>[+-][0-9]{4})")


def recognise(name: str, head: bytes) -> bool:
    """No file is one."""
    return False


def recognise_folder(path: str, names: frozenset[str]) -> bool:
    """A checkout, or a bare repository."""
    return bool({".git/", ".git"} & names) or {"HEAD", "objects/", "refs/"} <= names


class Git(Inside):
    """The repository at ``path`` (a checkout or a bare one) as it was at ``revision`` (default HEAD).

    ``only``: globs of the files that are read, default all. ``messages``: commit messages too, default false.
    """

    version: ClassVar[int] = 1

    kind: Literal["git"] = "git"
    name: str = "git"
    suffixes: list[str] = Field(default=[""], exclude=True)
    revision: str = Field(default="HEAD", min_length=1, pattern="^[^-]")
    only: list[str] = Field(default=[])
    messages: bool = False

    def manifest(self) -> list[Item]:
        folder = self._folder()
        commit = commit_of(folder, self.revision)
        items = []
        for entry in files_of(folder, commit):
            path = entry.path.decode("utf-8", "backslashreplace")
            if self.chosen(path, self.only):
                items.append(Item(path, entry.size, f"{entry.mode} {entry.name}"))
        if self.messages:
            items.append(Item(COMMITS, 0, commit))
        if not items:
            raise SourceError(
                f"The revision '{self.revision}' of the source '{self.name}' holds no file that fits; correct `only`."
            )
        return sorted(items, key=lambda item: item.locator)

    def identity(self) -> dict[str, object]:
        """Without the revision: a file of the same content at the same place is the same item in both."""
        return {name: value for name, value in super().identity().items() if name != "revision"}

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        if item.locator == COMMITS:
            yield from self._commits(item.stamp, max_document_bytes)
            return
        mode, _, name = item.stamp.partition(" ")
        fault = self._fault(item, mode)
        if fault:
            yield Reject(item.locator, fault)
            return
        try:
            data = objects(self._folder()).read(name)
        except SourceError as error:
            yield Reject(item.locator, str(error))
            return
        if data.startswith(_POINTER):
            yield Reject(
                item.locator,
                "It is a pointer of Git LFS, and its content is elsewhere; run `git lfs pull`, and name the folder as a"
                " source.",
            )
            return
        yield from self.documents(io.BytesIO(data), item.locator, max_document_bytes)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        yield from self.member(file, locator, locator, max_document_bytes)

    def _folder(self) -> str:
        path = os.path.normpath(os.path.join(os.path.expanduser(self.root), os.path.expanduser(self.path)))
        folder = git_folder(path)
        if not folder:
            raise SourceError(f"The path '{path}' of the source '{self.name}' is no git repository; correct `path`.")
        return folder

    def _fault(self, item: Item, mode: str) -> str:
        if mode == SUBMODULE:
            return "It is a submodule, another repository; name that as a source of its own."
        if mode == LINK:
            return "It is a link, which is not followed in a repository; name the file that it leads to."
        return too_large(item.size, self.max_file_bytes) if item.size > self.max_file_bytes else ""

    def _commits(self, head: str, limit: int) -> Iterator[Document | Reject]:
        folder = self._folder()
        try:
            names = output(folder, "rev-list", "--end-of-options", head).decode().split()
        except SourceError as error:
            yield Reject(COMMITS, str(error))
            return
        for name in names:
            place = f"{COMMITS}#{name}"
            try:
                data = objects(folder).read(name)
            except SourceError as error:
                yield Reject(place, str(error))
                continue
            yield _message(data, place, limit)


def _message(data: bytes, place: str, limit: int) -> Document | Reject:
    """The message of a commit object, with its author and the time of writing."""
    if len(data) > limit:
        return Reject(place, too_large(len(data), limit))
    headers, _, body = data.partition(b"\n\n")
    fields = dict(line.partition(b" ")[::2] for line in reversed(headers.split(b"\n")))
    encoding = fields.get(b"encoding", b"utf-8").decode("ascii", "replace")
    try:
        body = body.decode(encoding).encode() if encoding.lower() not in ("utf-8", "utf8") else body
    except (LookupError, ValueError):
        return Reject(place, f"The message is said to be in {encoding[:40]!r}, and is not; leave it out.")
    text = decode_text(body, place)
    if isinstance(text, Reject):
        return text
    text = text.strip()
    match = _PERSON.fullmatch(fields.get(b"author", b"").decode("utf-8", "replace"))
    author = "" if match is None or text_fault(match["name"]) else " ".join(match["name"].split())
    time = None if match is None else _moment(match["seconds"], match["zone"])
    stated: dict[str, object] = {"subject": text.partition("\n")[0], "author": author, "date": time}
    return Document(place, text, "commits", speaker=author, time=time, metadata=stated)


def _moment(seconds: str, zone: str) -> datetime | None:
    try:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:])) * (-1 if zone[0] == "-" else 1)
        return datetime.fromtimestamp(int(seconds), timezone(offset)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
