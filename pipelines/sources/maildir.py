"""A Maildir, where each letter is a file in `cur` or `new` of a folder; its folders may begin with a dot (Maildir++).

    ada/cur/1772443812.M1P2.host:2,S    ada/new/...    ada/.Sent/cur/...

What is read at once is a folder, `cur` and `new` together, since a thread goes through many files: a new letter reads
its folder again. That a letter was read or answered stands in its file's name, and changes nothing. Threads and the
rest are as in `pipelines.sources.mail`; the folder at the top is the tenant.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from mnemic.errors import SourceError
from mnemic.ids import hash_parts
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.mail import Mail

LETTERS = ("cur", "new")
ALL = "*"


def recognise_folder(path: str, names: frozenset[str]) -> bool:
    """A folder with `cur` and `new`."""
    return {"cur/", "new/"} <= names


class Maildir(Mail):
    """The Maildir, or the folder of Maildirs, at ``path``; the other settings are those of `Mail`."""

    version: ClassVar[int] = 1

    kind: Literal["maildir"] = "maildir"  # type: ignore[assignment]
    name: str = "maildir"
    suffixes: list[str] = Field(default=[], max_length=0)

    def manifest(self) -> list[Item]:
        base, pattern = self._place()
        if pattern or not os.path.isdir(base):
            raise SourceError(
                f"The path '{self.path}' of the source '{self.name}' is no folder; name the folder that holds `cur`, or"
                " one above it."
            )
        items = []
        for folder in _folders(base):
            files = [entry for place in _places(base, folder) for entry in [_letter(base, place)] if entry is not None]
            if files:
                stamp = hash_parts(*(part for file in sorted(files) for part in file))
                items.append(Item(posixpath.join(folder, ALL), sum(int(file[1]) for file in files), stamp))
        if not items:
            raise SourceError(
                f"The source '{self.name}' found no letter in `cur` or `new` under '{base}'; correct `path`, or read"
                " mbox files and `.eml` files with `kind: mail`."
            )
        return sorted(items, key=lambda item: item.locator)

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        folder = posixpath.dirname(item.locator)
        places = _places(self._place()[0], folder)
        yield from self.single_letters(sorted(places, key=_unique), item.locator, max_document_bytes)


def _folders(base: str) -> list[str]:
    """Folders below ``base`` that hold `cur` or `new`, by their paths; links are not followed."""
    holding, pending = [], [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(base, folder)) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # one that may not be read holds no letter for us
        if any(name in LETTERS for name in names):
            holding.append(folder)
        below = [name for name in names if name not in (*LETTERS, "tmp") and name.isprintable()]
        pending += [posixpath.join(folder, name) for name in below]
    return holding


def _places(base: str, folder: str) -> list[str]:
    places = []
    for part in LETTERS:
        try:
            names = os.listdir(os.path.join(base, folder, part))
        except OSError:
            continue
        places += [
            posixpath.join(folder, part, name) for name in names if not name.startswith(".") and name.isprintable()
        ]
    return places


def _letter(base: str, place: str) -> tuple[str, int, int] | None:
    try:
        status = os.stat(os.path.join(base, place), follow_symlinks=False)
    except OSError:
        return None
    return _unique(place), status.st_size, status.st_mtime_ns


def _unique(place: str) -> str:
    """A letter's name without the flags behind ":2,", nor whether it was seen (`new` or `cur`)."""
    return posixpath.basename(place).partition(":2,")[0]
