"""Files inside of something else, an archive, a repository, a crawl or a store: each goes to the reader of its kind."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import IO, Any, BinaryIO, ClassVar, cast

from pydantic import Field, field_validator

from mnemic.errors import MnemicError
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.files import Files
from pipelines.sources.kinds import find_source
from pipelines.sources.recognise import Format, head_of, recognised, unreadable

IN_MEMORY = 8 << 20
"""Bytes of an unpacked file from which on it stands on disk."""


class Inside(Files):
    """What packs files of many formats. ``inside`` are settings of their readers by kind, `{csv: {text_field: body}}`.

    ``max_file_bytes``: a file that is larger when it is unpacked is refused.
    """

    inside: dict[str, dict[str, Any]] = Field(default={})
    max_file_bytes: int = Field(default=2_000_000_000, gt=0)
    packs: ClassVar[frozenset[str]] = frozenset()  # kinds that are not looked into here

    @field_validator("inside")
    @classmethod
    def _are_settings_of_kinds(cls, inside: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for kind, settings in inside.items():
            _reader(kind, json.dumps(settings, sort_keys=True, default=str))
        return inside

    def chosen(self, name: str, only: list[str]) -> bool:
        """Whether the file ``name`` fits one of the globs ``only``, where there are any, and none of ``exclude``."""
        if only and not any(fnmatchcase(name, glob) for glob in only):
            return False
        return not any(fnmatchcase(name, glob) for glob in self.exclude)

    def member(self, file: BinaryIO, name: str, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        """The documents of the open file ``name``, which is called ``locator``; closes it."""
        with file:
            head = head_of(file)
            form = recognised(os.path.basename(name), head)
            if form is None or form.kind in self.packs:
                yield Reject(locator, _unread(form, head), "empty")
                return
            settings = {"columns": self.model_dump()["columns"], **self.inside.get(form.kind, {})}
            try:
                reader = _reader(form.kind, json.dumps(settings, sort_keys=True))
                yield from reader.documents(file, locator, max_document_bytes)
            except NotImplementedError:
                yield Reject(locator, f"It is {form.title}, which is not read inside of another file; unpack it.")
            except MnemicError as error:  # a library is missing
                yield Reject(locator, str(error))


def _unread(form: Format | None, head: bytes) -> str:
    if not head.strip():
        return "The file holds nothing."
    if form is not None:
        return f"It is {form.title}, which is not looked into here; unpack it."
    phrase = unreadable(head) or "of a format that nothing here reads"
    return f"It is {phrase}; leave it out, or read it with a source of your own."


@functools.lru_cache(maxsize=64)
def _reader(kind: str, settings: str) -> Files:
    """A source of ``kind`` for files that are open already."""
    values: Mapping[str, Any] = json.loads(settings)
    return cast(Files, find_source(kind).model_validate({"path": ".", **values, "kind": kind}))  # type: ignore[attr-defined]


def spooled() -> BinaryIO:
    """An empty file for what is unpacked: in memory while it is small, on disk after."""
    return cast(BinaryIO, _Spooled(max_size=IN_MEMORY))


class _Spooled(tempfile.SpooledTemporaryFile[bytes]):
    """Whose `fileno` does not move it to disk: it has none of its own."""

    def fileno(self) -> int:
        raise OSError("it stands in memory")


def pour(source: IO[bytes], target: BinaryIO, limit: int) -> bool:
    """Copy ``source`` from where it stands and go back to the beginning of ``target``; False for more than ``limit``
    bytes, of which no more are read."""
    left = limit
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)  # keeps what comes before an error
    while data := read(min(1 << 20, left + 1)):
        left -= len(data)
        if left < 0:
            return False
        target.write(data)
    target.seek(0)
    return True
