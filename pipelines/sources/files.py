"""Files below a path: what the sources that read files have in common.

Listing stats the files and opens none. Hidden files and folders are left out, links that lead out of the folder are
rejected, and so is a name that cannot be written down.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import BinaryIO, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mnemic.errors import SourceError
from pipelines.sources.columns import Columns
from pipelines.sources.contracts import Document, FilePart, Item, Reject
from pipelines.sources.recognise import Format, head_of, recognised
from pipelines.sources.text import open_failed, open_file

MAGIC = frozenset("*?[")

PART_BYTES = 64 << 20
"""A file of records has so many parts as it has this many bytes, which any workers read in any order."""


class Files(BaseModel):
    """Files below ``path`` (a folder, a file or a glob, relative to ``root``) whose names end in one of ``suffixes``.

    A suffix that begins with "/" is a whole name, such as "/README". A file that ``path`` itself names is read whatever
    its suffix. ``exclude``: globs below ``path`` that are left out. With ``others`` = "leave", a file whose content is
    of another format is left to another source; by default it is read as far as it can be. ``columns`` names what a
    bank keeps of the documents' metadata, with types (`pipelines.sources.columns`).

    A source of one format writes `documents`; what packs files of many formats calls it with what it unpacked.
    ``library`` is the module of an optional package that reading takes, ``reads`` are the formats that are its own. One
    whose files have ``parts`` also writes `documents_of_part` (and `located`, where a part is a range of bytes).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: ClassVar[int]
    library: ClassVar[str] = ""
    reads: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[tuple[str, ...]] = ()  # endings of the files that are read in parts; "" for any

    kind: str
    name: str
    path: str = Field(min_length=1)
    root: str = "."
    suffixes: list[str] = Field(min_length=1)
    exclude: list[str] = Field(default=[])
    others: Literal["read", "leave"] = "read"
    columns: Columns = {}

    @field_validator("suffixes")
    @classmethod
    def _begin_with_a_dot(cls, suffixes: list[str]) -> list[str]:
        for suffix in suffixes:
            if not suffix.startswith((".", "/")):
                raise ValueError(f"The suffix '{suffix}' does not begin with a dot; write '.{suffix}'.")
        return suffixes

    def identity(self) -> Mapping[str, object]:
        """All fields but the place: of ``path`` only the glob's pattern below its fixed folder.

        Fields that every source got later are there only where they say something.
        """
        later = {
            name
            for name in ("exclude", "others", "columns")
            if getattr(self, name) == type(self).model_fields[name].default
        }
        identity: dict[str, object] = self.model_dump(exclude={"name", "path", "root", *later})
        identity["suffixes"] = sorted(suffix.lower() for suffix in self.suffixes)
        return {**identity, "version": self.version, "pattern": self._place()[1]}

    def manifest(self) -> list[Item]:
        need(self.library, f"the source '{self.name}' (`kind: {self.kind}`)")
        base, pattern = self._place()
        full = os.path.join(os.path.expanduser(self.root), os.path.expanduser(self.path))
        if not os.path.lexists(base):
            raise SourceError(
                f"The path '{full}' of the source '{self.name}' does not exist; correct `path`, which is taken relative"
                " to the folder of the recipe."
            )
        try:
            if os.path.isdir(base):
                without = tuple(tuple(glob.strip("/").split("/")) for glob in self.exclude)
                items = list(_walk(base, pattern, tuple(suffix.lower() for suffix in self.suffixes), without))
            else:
                items = [_item(os.path.basename(base), os.stat(base))]
                if not os.access(base, os.R_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), base)
        except OSError as error:
            long = error.errno == errno.ENAMETOOLONG
            way_out = "shorten the names of its folders" if long else "give yourself the right to read it"
            raise SourceError(
                f"The path '{error.filename}' of the source '{self.name}' cannot be read ({error.strerror}); {way_out},"
                " or take it out of the source."
            ) from error
        if not items:
            raise SourceError(
                f"The source '{self.name}' found no file under '{full}' whose name ends in"
                f" {', '.join(self.suffixes)}; correct `path`, or let `mnemic init --folder` look which formats your"
                " files have and which `kind` reads them."
            )
        return [part for item in sorted(items, key=lambda item: item.locator) for part in self._parted(item)]

    def located(self, items: Iterable[Item]) -> Iterator[Item]:
        """``items``, parts of one file in order, with the places where they begin and end."""
        return iter(items)

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        file = self.file(item)
        if isinstance(file, Reject):
            yield file
        elif item.part is None:
            yield from self.documents(file, item.locator, max_document_bytes)
        elif item.part.end == 0 and type(self).located is not Files.located:
            file.close()
            yield Reject(item.locator, "The file could not be looked through before; build again.")
        else:
            yield from self.documents_of_part(file, item.locator, item.part, max_document_bytes)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        """The documents of an open file, which can be sought in and is closed here, and its rejects."""
        raise NotImplementedError(f"{type(self).__name__} does not say what is in a file; write `documents`.")

    def documents_of_part(
        self, file: BinaryIO, locator: str, part: FilePart, max_document_bytes: int
    ) -> Iterator[Document | Reject]:
        """As `documents`, of one part of a large file."""
        raise NotImplementedError(f"{type(self).__name__} does not say what is in a part; write `documents_of_part`.")

    def file(self, item: Item) -> BinaryIO | Reject:
        """The regular file of an item, open; a `Reject` where none may be read, or another source reads it."""
        file = self._opened(item)
        if isinstance(file, Reject):
            return file
        try:
            other = self.other(item.locator, head_of(file))
        except OSError as error:
            other = Reject(item.locator, open_failed(error))
        if other is None:
            return file
        file.close()
        return other

    def other(self, locator: str, head: bytes) -> Reject | None:
        """What is said of a file that another source reads; None where it is this one's."""
        return None if self.others == "read" else self.left(locator, recognised(os.path.basename(locator), head))

    def left(self, locator: str, form: Format | None) -> Reject | None:
        """What is said of a file of format ``form`` where `others` is "leave"; None where it is this source's."""
        if form is None or form.kind in {self.kind, *self.reads}:
            return None
        return Reject(locator, f"It is {form.title}, which is left to a source of `kind: {form.kind}`.", "empty")

    def _opened(self, item: Item) -> BinaryIO | Reject:
        base, _ = self._place()
        named = not os.path.isdir(base)  # the person named the file, so where it links to is their choice
        path = base if named else os.path.join(base, item.locator)
        root = None if named else os.path.realpath(base)
        if item.locator.endswith("/"):
            return Reject(item.locator, "The file's name is not UTF-8; rename it.")
        if named and item.locator != os.path.basename(base):
            return Reject(item.locator, "The folder that it was in is not there; restore it, and build again.")
        if root is not None and os.path.islink(path) and os.path.isdir(path):
            return _folder_link(path, root, item.locator)
        return open_file(path, root, item.locator)

    def _parted(self, item: Item) -> list[Item]:
        of = item.size // PART_BYTES
        if of < 2 or not self.parts or not item.locator.lower().endswith(self.parts):
            return [item]
        return [replace(item, part=FilePart(number, of)) for number in range(of)]

    def lists(self, locator: str) -> bool:
        """Whether the glob of ``path`` takes a file below its fixed folder."""
        pattern = self._place()[1]
        return _fits(tuple(locator.split("/")), tuple(pattern.split("/")) if pattern else ("**",))

    def _place(self) -> tuple[str, str]:
        """The path of the source's folder or file, and the glob's pattern below it ("" for none)."""
        path = os.path.expanduser(self.path)
        full = os.path.normpath(os.path.join(os.path.expanduser(self.root), path))
        if MAGIC.isdisjoint(path):
            return full, ""
        names = PurePosixPath(os.path.normpath(path)).parts
        first = next((index for index, part in enumerate(names) if MAGIC & set(part)), None)
        if first is None or os.path.lexists(full):  # a file may be called "notes[1].md"
            return full, ""
        base = os.path.join(os.path.expanduser(self.root), *names[:first])
        return os.path.normpath(base), "/".join(names[first:])


def need(module: str, asking: str) -> None:
    """Make sure that the optional package of ``module`` is there; "" asks for nothing. Raises `SourceError`."""
    if module and find_spec(module.partition(".")[0]) is None:
        raise SourceError(
            f"For {asking} the package {module.partition('.')[0]} is needed, which is not installed. Install it with"
            " `pip install 'mnemic[sources]'`."
        )


def _walk(
    base: str, pattern: str, suffixes: tuple[str, ...], without: tuple[tuple[str, ...], ...] = ()
) -> Iterator[Item]:
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
                if any(_fits(path, glob) for glob in without):
                    continue
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
                suits = not directory and (regular or link) and f"/{entry.name.lower()}".endswith(suffixes)
                if suits and _fits(path, parts):
                    readable = not regular or os.access(entry.path, os.R_OK)
                    yield _item("/".join(path), entry.stat(follow_symlinks=regular), readable)


def _fits(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a file's path fits a glob, where `**` stands for any number of folders (and, at the end, any file).

    The beginnings of the path that a beginning of the pattern fits are carried along, so that many `**` cost no more
    than their number times that of the names.
    """
    fitting = {0}  # names of the path that the pattern has used up so far
    for index, part in enumerate(pattern):
        if part == "**":
            last = index == len(pattern) - 1
            fitting = set(range(min(fitting) + last, len(path) + last)) if fitting else set()
        else:
            fitting = {used + 1 for used in fitting if used < len(path) and fnmatchcase(path[used], part)}
    return len(path) in fitting


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
