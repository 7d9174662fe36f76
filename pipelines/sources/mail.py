"""Mail in files: mbox (Thunderbird, Takeout, archives of lists), of any size, and letters in files of their own (EML).

    From ada@example.org Mon Mar  2 10:30:12 2026
    From: Ada <ada@example.org>
    Message-ID: <2@example.org>
    References: <1@example.org>
    Date: Mon, 2 Mar 2026 10:30:12 +0100

A thread is a session (`pipelines.sources.threads`), named by the id of its first letter. A mailbox is a tenant: an mbox
by its name, letters in files by the folder at the top. What is read at once is an mbox, or all `.eml` files of a
folder, since a thread may go through any of them; a thread that goes through two mailboxes is two sessions of one name.

An mbox is read three times, by the places of its letters: for these, for the headers, and thread by thread.
"""

from __future__ import annotations

import os
import posixpath
import re
from array import array
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.correspondence import Mailbox, correspondence
from pipelines.sources.files import Files
from pipelines.sources.grouped import grouped, members
from pipelines.sources.json_values import MARK, Unusable
from pipelines.sources.letters import MOST_HEADERS, Head, headers_of, read_head
from pipelines.sources.mbox import begins_mbox, letters, unescape
from pipelines.sources.text import open_failed, size_of
from pipelines.sources.transcript import LeftOut

ALL = "*.eml"
FIRST_BYTES = 1 << 14
"""Bytes of a letter that hold the headers of nearly all."""

_HEADER = re.compile(rb"[!-9;-~]{1,80}:(?:[ \t\r\n]|$)")
_NAMED = re.compile(rb"(?im)^(from|to|date|subject|message-id|received|return-path|delivered-to|mime-version):[ \t]")
_MACHINES = frozenset((b"message-id", b"received", b"return-path", b"delivered-to", b"mime-version"))
"""Headers that programs write, and people do not, above a memo for example."""


def recognise(name: str, head: bytes) -> bool:
    """An mbox, or the headers of a letter: three known ones, of which a program wrote one."""
    return begins_mbox(head) or is_letter(head)


def is_letter(head: bytes) -> bool:
    """Whether data begin with the headers of a letter."""
    text = head.removeprefix(MARK).lstrip(b"\r\n")
    if _HEADER.match(text) is None:
        return False
    names = {match[1].lower() for match in _NAMED.finditer(headers_of(text[:MOST_HEADERS]))}
    return len(names) >= 3 and b"from" in names and bool(names & _MACHINES)


class Mail(Files):
    """Mbox files and letters (EML) below ``path``.

    ``quotes`` and ``signatures``: `cut` or `keep`, cut. ``max_letter_bytes``: what is read of a letter, from its
    beginning, in bytes.
    """

    version: ClassVar[int] = 1

    kind: Literal["mail"] = "mail"
    name: str = "mail"
    suffixes: list[str] = Field(default=[".mbox", ".mbx", ".eml"], min_length=1)
    quotes: Literal["cut", "keep"] = "cut"
    signatures: Literal["cut", "keep"] = "cut"
    max_letter_bytes: int = Field(default=8_000_000, gt=0)

    def manifest(self) -> list[Item]:
        items = super().manifest()
        if not os.path.isdir(self._place()[0]):
            return items
        single = [item for item in items if item.locator.lower().endswith(".eml")]
        others = [item for item in items if not item.locator.lower().endswith(".eml")]
        return sorted([*grouped(single, ALL), *others], key=lambda item: item.locator)

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        folder, name = posixpath.split(item.locator)
        if name != ALL:
            yield from super().read(item, max_document_bytes)
            return
        places = members(self, folder, lambda name: name.lower().endswith(".eml"))
        if isinstance(places, Reject):
            yield places
        else:
            yield from self.single_letters(places, item.locator, max_document_bytes)

    def single_letters(self, places: list[str], locator: str, limit: int) -> Iterator[Document | Reject]:
        """Threads of letters that are files of their own, at ``places``, read as one mailbox."""
        left = LeftOut(locator)
        faults: list[Reject] = []

        def heads() -> Iterator[Head | None]:
            for place in places:
                try:
                    yield _head(self._beginning(place, MOST_HEADERS))
                except (Unusable, OSError) as error:
                    reason = open_failed(error) if isinstance(error, OSError) else str(error)
                    faults.append(Reject(place, reason, getattr(error, "severity", "reject")))
                    yield None

        def whole(number: int) -> bytes:
            data = self._beginning(places[number], self.max_letter_bytes + 1)
            return self._cut(data, places[number], left)

        folder = posixpath.dirname(locator).partition("/")[0]
        tenant = folder or os.path.basename(self._place()[0])
        mailbox = Mailbox(locator, tenant, heads(), whole, places.__getitem__)
        yield from correspondence(mailbox, limit, left, self.quotes == "keep", self.signatures == "keep")
        yield from faults

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        with file:
            try:
                yield from self._mbox(file, locator, max_document_bytes)
            except OSError as error:
                yield Reject(locator, open_failed(error))

    def _mbox(self, file: BinaryIO, locator: str, limit: int) -> Iterator[Document | Reject]:
        size = size_of(file)
        file.seek(0)
        beginning = file.read(FIRST_BYTES)
        if not beginning.strip():
            yield Reject(locator, "The file holds no letter.", "empty")
            return
        begins, ends = array("Q"), array("Q")
        single = is_letter(beginning)
        for begin, end in [(0, size)] if single else letters(file, 0, size):
            begins.append(begin)
            ends.append(end)
        left = LeftOut(locator)
        faults: list[Reject] = []

        def part(number: int, most: int) -> bytes:
            file.seek(begins[number])
            return file.read(min(most, ends[number] - begins[number]))

        def place(number: int) -> str:
            return locator if single else f"{locator}#{number + 1}"

        def heads() -> Iterator[Head | None]:
            for number in range(len(begins)):
                data = part(number, FIRST_BYTES)
                if len(data) == FIRST_BYTES and len(headers_of(data)) == len(data):
                    data = part(number, MOST_HEADERS)
                try:
                    yield _head(data)
                except Unusable as error:
                    faults.append(Reject(place(number), str(error), error.severity))
                    yield None

        def whole(number: int) -> bytes:
            return self._cut(unescape(part(number, self.max_letter_bytes + 1)), place(number), left)

        mailbox = Mailbox(locator, os.path.splitext(locator)[0], heads(), whole, place)
        yield from correspondence(mailbox, limit, left, self.quotes == "keep", self.signatures == "keep")
        yield from faults

    def _beginning(self, place: str, most: int) -> bytes:
        """Raises `OSError` and `Unusable`."""
        file = self.file(Item(place, 0, ""))
        if isinstance(file, Reject):
            raise Unusable(file.reason, file.severity)
        with file:
            return file.read(most)

    def _cut(self, data: bytes, place: str, left: LeftOut) -> bytes:
        if len(data) > self.max_letter_bytes:
            kind = (
                f"of letters of more than {self.max_letter_bytes:,} bytes; raise `max_letter_bytes` to read them whole"
            )
            left.add(kind, place, "end")
        return data[: self.max_letter_bytes]


def _head(data: bytes) -> Head:
    """Raises `Unusable` for what is no letter."""
    if not data.strip():
        raise Unusable("It holds nothing.", "empty")
    headers = headers_of(data)
    if len(headers) >= MOST_HEADERS:
        raise Unusable(f"Its headers have more than {MOST_HEADERS:,} bytes, so it is no letter; leave it out.")
    if _HEADER.match(data.removeprefix(MARK).lstrip(b"\r\n").removeprefix(b">")) is None:
        raise Unusable("It does not begin with the headers of a letter; leave it out, or correct it.")
    return read_head(headers)
