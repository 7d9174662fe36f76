"""Tables of text, CSV and TSV (RFC 4180, and the delimiters that people's programs write instead of the comma).

The first row names the columns, unless ``names`` does. A record is called by the line on which it begins, so
`people.csv#12` is line 12 of an editor. Where a row of several lines has another number of fields than there are
columns, its first line alone is refused, and reading goes on with the next: a quote that is never closed costs one row
and not the rest of the file.
"""

from __future__ import annotations

import csv
import functools
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np
from pydantic import Field

from mnemic.compiled import compiled
from mnemic.ids import hash_parts
from pipelines.seen import SeenIds
from pipelines.sources.contracts import Document, FilePart, Item, Reject
from pipelines.sources.fields import Records
from pipelines.sources.json_values import CONVERT, MARK, UTF_16, Unusable, lines_of
from pipelines.sources.parts import located
from pipelines.sources.proposal import fields_of
from pipelines.sources.text import open_failed, size_of

DELIMITERS = ",;\t|"
SAMPLE = 1 << 14
"""Bytes from which the delimiter is guessed; the guess takes time that grows faster than they do."""

_ENDINGS = (".csv", ".tsv", ".tab", ".psv")
_UNIT = "row"
_VAIN = 1 << 27
"""Bytes that are read again behind rows that are none, beside eight times those that are done with."""


def recognise(name: str, head: bytes) -> bool:
    """A table by its ending, whose first lines are text; or lines of any name that have the same number of fields."""
    ending = os.path.splitext(name)[1].lower()
    if b"\0" in head or not head.strip() or ending not in _ENDINGS:
        return False
    return head.lstrip(MARK + b" \t\r\n")[:1] not in (b"{", b"[", b"<")


def propose(path: str, name: str, head: bytes) -> dict[str, object]:
    """The columns that are the text, the id and the time, by what the first rows hold."""
    sample = head.removeprefix(MARK).decode("utf-8", "replace")
    dialect = sniffed(head)
    rows = list(csv.reader(sample.splitlines()[:200], **dialect.arguments()))
    if not rows:
        return {}
    names = rows[0]
    whole = [row for row in rows[1:] if len(row) == len(names)]
    settings = fields_of([dict(zip(names, row, strict=True)) for row in whole])
    return settings if _is_utf8(head) else {**settings, "encoding": "cp1252"}


class Dialect:
    """How fields are parted and quoted; ``told`` is a phrase for it."""

    def __init__(self, delimiter: str = ",", quote: str = '"', space: bool = False) -> None:
        self.delimiter, self.quote, self.space = delimiter, quote, space

    def arguments(self) -> dict[str, Any]:
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote,
            "skipinitialspace": self.space,
            "doublequote": True,
        }

    def __str__(self) -> str:
        shown = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}.get(self.delimiter, self.delimiter)
        return f"fields parted by {shown}, quoted by {self.quote}"


_FIELD = r"(?P<quote>[\"']).{0,2000}?(?P=quote)"
_BEFORE, _AFTER = (
    rf"(?P<delimiter>[{re.escape(DELIMITERS)}])(?P<space> ?)",
    rf"(?P<delimiter>[{re.escape(DELIMITERS)}])",
)
_QUOTED_FIELDS = tuple(
    re.compile(pattern, re.DOTALL | re.MULTILINE)
    for pattern in (
        rf"{_BEFORE}{_FIELD}(?P=delimiter)",
        rf"(?:^|\n){_FIELD}{_AFTER}(?P<space> ?)",
        rf"{_BEFORE}{_FIELD}(?:$|\n)",
        rf"(?:^|\n){_FIELD}(?:$|\n)",
    )
)
"""Fields in quotes: between two delimiters, at the beginning of a line, at its end, alone. A field is bounded, since
every quote may begin one that never ends."""

_NO_QUOTES = str.maketrans({'"': "q", "'": "q"})


@functools.lru_cache(maxsize=64)
def sniffed(head: bytes) -> Dialect:
    """The dialect of a file that begins with ``head``; that of RFC 4180 where nothing speaks for another.

    As `csv.Sniffer` guesses, whose patterns for quotes take minutes for some files of a few kilobytes: it sees texts
    without quotes only.
    """
    sample = head[:SAMPLE].removeprefix(MARK).decode("utf-8", "replace")
    sample = sample[: sample.rfind("\n") + 1] or sample
    first = sample.partition("\n")[0]
    quote, delimiter, space = _quotes(sample)
    if not delimiter:
        try:
            guess = csv.Sniffer().sniff(sample.translate(_NO_QUOTES), DELIMITERS)
        except (csv.Error, TypeError, ValueError):
            counted = max(DELIMITERS, key=first.count)
            return Dialect(counted if counted in first else ",")
        delimiter, space = guess.delimiter, bool(guess.skipinitialspace)
    if delimiter not in DELIMITERS or delimiter not in first:
        return Dialect()
    return Dialect(delimiter, quote, space)


def _quotes(sample: str) -> tuple[str, str, bool]:
    """The quote of the fields in quotes, their delimiter ("" where none tells it), and whether a space follows it."""
    for pattern in _QUOTED_FIELDS:
        fields = [match.groupdict() for match in pattern.finditer(sample)]
        if fields:
            quotes = Counter(field["quote"] for field in fields)
            delimiters = Counter(field["delimiter"] for field in fields if "delimiter" in field)
            delimiter = max(delimiters, key=lambda one: delimiters[one], default="")
            spaces = sum(1 for field in fields if field.get("space"))
            return max(quotes, key=lambda one: quotes[one]), delimiter, spaces == delimiters.get(delimiter, -1)
    return '"', "", False


class Delimited(Records):
    """CSV and TSV below ``path``.

    ``delimiter`` and ``quote``: a character each; default: as `csv.Sniffer` guesses from the first 16 kB, which `mnemic
    plan` tells. ``names``: the columns of a file whose first row is a record already. ``encoding``: utf-8 (default),
    cp1252 or latin-1.
    """

    version: ClassVar[int] = 1
    parts: ClassVar[tuple[str, ...]] = ("",)

    kind: Literal["csv"] = "csv"
    name: str = "csv"
    suffixes: list[str] = Field(default=[".csv", ".tsv", ".tab", ".psv"], min_length=1)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    quote: str | None = Field(default=None, min_length=1, max_length=1)
    names: list[str] | None = Field(default=None, min_length=1)
    encoding: Literal["utf-8", "cp1252", "latin-1"] = "utf-8"

    def notes(self, items: Iterable[Item]) -> Iterator[str]:
        """How the first three files are read, for the plan."""
        for item, _ in zip(items, range(3), strict=False):
            file = self.file(item)
            if isinstance(file, Reject):
                continue
            try:
                with file:
                    dialect, names, _ = self._begun(file)
            except (Unusable, OSError) as error:
                yield f"{item.locator}: {error}"[:200]
                continue
            yield f"{item.locator}: {dialect}, columns {', '.join(names)}"[:200]

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        yield from self._rows(file, locator, None, max_document_bytes)

    def documents_of_part(
        self, file: BinaryIO, locator: str, part: FilePart, max_document_bytes: int
    ) -> Iterator[Document | Reject]:
        yield from self._rows(file, locator, part, max_document_bytes)

    def located(self, items: Iterable[Item]) -> Iterator[Item]:
        items = list(items)
        file = self.file(items[0])
        if isinstance(file, Reject):
            return located(file, items, RowEnds(Dialect()))
        dialect = self._dialect(file.read(SAMPLE))
        file.seek(0)
        return located(file, items, RowEnds(dialect))

    def _dialect(self, head: bytes) -> Dialect:
        guess = sniffed(head[:SAMPLE])
        return Dialect(self.delimiter or guess.delimiter, self.quote or guess.quote, guess.space)

    def _begun(self, file: BinaryIO) -> tuple[Dialect, list[str], tuple[int, int]]:
        """The dialect, the names of the columns, and where (byte, line) the records begin. Raises `Unusable`."""
        head = file.read(SAMPLE)
        if head.startswith(UTF_16):
            raise Unusable(CONVERT)
        if not head.removeprefix(MARK).strip():
            raise Unusable("The file holds nothing.", "empty")
        dialect = self._dialect(head)
        begin = len(MARK) if head.startswith(MARK) else 0
        if self.names is not None:
            return dialect, self.names, (begin, 1)
        file.seek(begin)
        feed = _Feed(lines_of(file, SAMPLE, size_of(file) - begin), self.encoding, SAMPLE, 1)
        try:
            names = [name.strip() for name in next(csv.reader(feed, **dialect.arguments()), [])]
        except (_Broken, csv.Error) as error:
            raise Unusable(f"The first row, which names the columns, cannot be read ({error}); correct it.") from error
        twice = next((name for name in names if name and names.count(name) > 1), "")
        if twice in self.wanted_fields and twice:
            raise Unusable(f"Two columns are called '{twice}'; rename one of them, or give all by `names`.")
        if self.text_field not in names:
            shown = ", ".join(name[:40] for name in names[:12])
            raise Unusable(
                f"No column is called '{self.text_field}', only {shown}; name the right one with `text_field`."
            )
        return dialect, names, (begin + feed.bytes, 1 + len(feed.pulled))

    def _rows(self, file: BinaryIO, locator: str, part: FilePart | None, limit: int) -> Iterator[Document | Reject]:
        try:
            with file:
                try:
                    dialect, names, (begin, line) = self._begun(file)
                except Unusable as error:
                    if part is None or part.number == 0:
                        yield Reject(locator, str(error), error.severity)
                    return
                end = size_of(file) if part is None else part.end
                if part is not None and part.number:
                    begin, line = part.begin, part.first
                file.seek(begin)
                feed = _Feed(lines_of(file, limit, max(end - begin, 0)), self.encoding, limit, line)
                yield from self._documents(feed, dialect, names, locator)
        except OSError as error:
            yield Reject(locator, open_failed(error))

    def _documents(self, feed: _Feed, dialect: Dialect, names: list[str], locator: str) -> Iterator[Document | Reject]:
        seen = SeenIds()
        for line, row in _records(feed, dialect, len(names)):
            place, subject = f"{locator}#{line}", f"{_UNIT} {line}"
            if isinstance(row, str):
                yield Reject(place, row)
                continue
            try:
                document = self.document(dict(zip(names, row, strict=True)), locator, line, subject)
            except Unusable as error:
                yield Reject(place, str(error), error.severity)
                continue
            if self.id_field is not None and not seen.add(hash_parts(document.locator)):
                yield Reject(place, f"Row {line} repeats the id of an earlier row; make ids unique.")
                continue
            yield document


class _Broken(Exception):
    """A line that ends a row before its time; ``str(error)`` says why."""


class _Feed:
    """Lines as text for `csv.reader`. ``pulled`` are those of the row that is being read, which can be put back."""

    def __init__(self, lines: Iterator[bytes], encoding: str, limit: int, number: int) -> None:
        self._lines, self.encoding, self._limit = lines, encoding, limit
        self.again: deque[bytes] = deque()  # lines that are read once more
        self.pulled: list[bytes] = []
        self.bytes = 0  # of the row
        self.number = number  # of the first line of the row
        self._left = _VAIN

    @property
    def patient(self) -> bool:
        """Whether lines may be read again: each may open a quote that none of a million behind it closes."""
        return self._left > 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self._lines)
        self.pulled.append(line)
        self.bytes += len(line)
        if self.bytes > self._limit + 2:
            raise _Broken(f"is longer than a document may be ({self._limit:,} bytes); close its quotes, or split it")
        try:
            return line.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise _Broken(
                f"is not {self.encoding}: byte 0x{line[error.start]:02x} does not fit; name another `encoding`"
            ) from error

    def next_row(self, lines: int) -> None:
        """Be done with the first ``lines`` that were pulled; the others are read again."""
        if lines < len(self.pulled):
            self._left -= self.bytes
        self._left += 8 * sum(map(len, self.pulled[:lines]))
        self.again.extendleft(reversed(self.pulled[lines:]))
        self.number += lines
        self.pulled, self.bytes = [], 0


def _records(feed: _Feed, dialect: Dialect, width: int) -> Iterator[tuple[int, list[str] | str]]:
    """(line, fields) of every row that is not blank, or (line, sentence) where it is none."""
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))
    reader = csv.reader(feed, strict=True, **dialect.arguments())
    while True:
        fault, row = "", list[str]()
        try:
            row = next(reader)
        except StopIteration:
            if not feed.pulled:
                return
        except _Broken as error:
            fault = str(error)
        except csv.Error as error:
            fault = "holds a carriage return outside of quotes" if "new-line" in str(error) else "has a quote too many"
            if len(feed.pulled) == 1 and "expected after" in str(error):  # as people write: "so" they say
                row = _lax(feed.pulled[0].decode(feed.encoding), dialect)
                fault = "" if len(row) == width else fault
        if not fault and (not row or len(row) == width):
            if row:
                yield feed.number, row
            feed.next_row(len(feed.pulled))
        else:
            reason = fault or f"has {len(row)} fields where the columns are {width}"
            lines = 1 if feed.patient else len(feed.pulled)
            more = f" The {lines - 1:,} lines behind it are left out with it." if lines > 1 else ""
            yield feed.number, f"Row {feed.number} {reason}; correct the row.{more}"
            feed.next_row(lines)
        if fault or feed.again:
            reader = csv.reader(feed, strict=True, **dialect.arguments())


def _lax(line: str, dialect: Dialect) -> list[str]:
    """The fields of a line with quotes in their midst; none where it cannot be read so either."""
    try:
        return next(csv.reader([line], **dialect.arguments()), [])
    except csv.Error:
        return []


class RowEnds:
    """A call is `pipelines.sources.parts.Advance` over rows: a line break inside of quotes ends none."""

    def __init__(self, dialect: Dialect) -> None:
        self._signs = (ord(dialect.delimiter), ord(dialect.quote))
        self._state = _BEGIN

    def __call__(self, data: bytes, stop: int) -> tuple[int, int, bool]:
        passed, lines, state, ended = _advance(np.frombuffer(data, np.uint8), stop, self._state, *self._signs)
        self._state = state
        return int(passed), int(lines), bool(ended)


_BEGIN, _PLAIN, _QUOTED, _CLOSING = 0, 1, 2, 3
"""A field begins; it is without quotes; inside of quotes; behind a quote inside of quotes."""


@compiled
def _advance(
    data: np.ndarray[Any, Any], stop: int, state: int, delimiter: int, quote: int
) -> tuple[int, int, int, bool]:
    """(bytes passed, lines, state, ended) of the automaton of `csv.reader`, uint8 [n]."""
    lines = 0
    for place in range(len(data)):
        sign = data[place]
        if sign == 10:
            lines += 1
        if state == 2:
            if sign == quote:
                state = 3
        elif sign == 10:
            state = 0
            if place + 1 >= stop:
                return place + 1, lines, state, True
        elif sign == quote and state == 3:
            state = 2
        elif sign == delimiter:
            state = 0
        elif sign == quote and state == 0:
            state = 2
        else:
            state = 1
    return len(data), lines, state, False


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4
    return True
