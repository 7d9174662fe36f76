"""JSON from a file that anybody may have written: what cannot be read is a sentence, and costs no more than itself.

JSON Lines (jsonlines.org: UTF-8, one JSON value a line, `\\n` ends a line) is streamed, so that memory is bounded by
one line whatever the size of the file (3.1 MB at the peak for a file of 200 MB that ends in a line of 100 MB, with
lines limited to 1 MB). RFC 8259 leaves it open what an object means whose key stands twice; Python keeps the last value
in silence, so such objects can be read as `Repeated`, which says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from pipelines.sources.contracts import FilePart, Reject, Severity
from pipelines.sources.text import open_failed, size_of, text_fault

JSON_LINES = (".jsonl", ".ndjson")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
MARK = b"\xef\xbb\xbf"
CONVERT = "The file is UTF-16, not UTF-8; convert it with `iconv -f UTF-16 -t UTF-8`."


_OBJECT_BYTES = {b"{": 240, b"[": 96, b",": 64}
"""Bytes of values in memory, by the marks that come with them: a list of empty lists takes thirty times its bytes."""

_MOST_OBJECT_BYTES = 400_000_000

_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{\[,]', re.DOTALL)


class Unusable(Exception):
    """A value that cannot be used; ``str(error)`` is the sentence that says why."""

    def __init__(self, reason: str, severity: Severity = "reject") -> None:
        super().__init__(reason)
        self.severity = severity


class Repeated(dict[str, Any]):
    """An object in which the key ``key`` stands twice, of which only the last value is here."""

    key = ""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its members, for `parse`: a `Repeated` one where a key stands twice."""
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    record = Repeated(record)
    seen: set[str] = set()
    record.key = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return record


Members = Callable[[list[tuple[str, Any]]], Any]
"""Makes an object of its members, such as `once`."""


def json_lines(
    file: BinaryIO,
    locator: str,
    limit: int,
    of: str = "a document",
    setting: str = "max_document_bytes",
    members: Members | None = None,
    part: FilePart | None = None,
) -> Iterator[tuple[int, Any] | Reject]:
    """(number, value) of every line that is not blank, or a `Reject` at ``locator#number`` for one that is not JSON.

    Reads what the open file holds now, not what a writer adds meanwhile, and closes it. ``limit`` is the most bytes
    that a line may have, since it holds ``of``; ``setting`` is what to raise for more. Of a ``part`` only its lines.
    """
    blank = part is None
    try:
        with file:
            first, size = (1, size_of(file)) if part is None else (part.first, part.end - part.begin)
            file.seek(part.begin if part is not None else 0)
            for number, line in enumerate(lines_of(file, limit, size), start=first):
                place = f"{locator}#{number}"
                if number == 1 and line.startswith(UTF_16):
                    yield Reject(locator, CONVERT)
                    return
                too_long = len(line.rstrip(b"\r\n")) > limit
                if not too_long and not line.removeprefix(MARK if number == 1 else b"").strip():
                    continue
                blank = False
                if too_long:
                    reason = f"Line {number} is longer than {of} may be ({limit:,} bytes); raise `{setting}` or split"
                    yield Reject(place, f"{reason} the line.")
                    continue
                whole = line.endswith(b"\n")
                cut = "" if whole else "The file seems cut off, since its last line has no end; copy it again."
                try:
                    value = parse(line, f"Line {number}", cut, number == 1, members)
                except Unusable as error:
                    yield Reject(place, str(error), error.severity)
                    continue
                yield number, value
    except OSError as error:
        yield Reject(locator, open_failed(error))
        return
    if blank:
        yield Reject(locator, "The file holds no lines.", "empty")


def json_file(file: BinaryIO, limit: int, setting: str, members: Members | None = None) -> Any:
    """The value of an open JSON file of at most ``limit`` bytes, ``setting`` being what to raise for more; closes it.

    Raises `Unusable`.
    """
    try:
        with file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Unusable(open_failed(error)) from error
    if len(data) > limit:
        raise Unusable(
            f"The file is larger than a JSON file may be ({limit:,} bytes), since it is read whole; raise `{setting}`,"
            " or write JSON Lines, which are read one by one."
        )
    if data.startswith(UTF_16):
        raise Unusable(CONVERT)
    if not data.removeprefix(MARK).strip():
        raise Unusable("The file holds nothing.", "empty")
    return parse(data, "The file", members=members)


def parse(data: bytes, subject: str, cut: str = "", first: bool = True, members: Members | None = None) -> Any:
    """The JSON value that ``data`` is, which a sentence calls ``subject``: "Line 3", or "The file".

    ``cut`` is said where the data seem to end too soon; a byte-order mark may stand before a ``first`` value.
    Raises `Unusable`.
    """
    line = subject.startswith("Line")
    if _holds_too_much(data):
        instead = "split the line" if line else "write JSON Lines, which are read one by one"
        raise Unusable(f"{subject} holds more values than are read at once; {instead}.")
    try:
        return json.loads(data.decode("utf-8-sig" if first else "utf-8"), object_pairs_hook=members)
    except UnicodeDecodeError as error:
        raise Unusable(
            f"{subject} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
            f"{' of the line' if line else ''} does not fit; convert {'the file' if line else 'it'}, for example with"
            f" `iconv -f LATIN1 -t UTF-8`.{cut and f' {cut}'}"
        ) from error
    except RecursionError as error:
        raise Unusable(f"{subject} is nested too deeply; flatten its record.") from error
    except json.JSONDecodeError as error:
        where = f"at character {error.pos}" if line else f"at line {error.lineno}, column {error.colno}"
        mend = "Correct the line." if line else "Correct it; if each of its lines is a value, end its name in `.jsonl`."
        raise Unusable(f"{subject} is not JSON ({error.msg} {where}). {cut or mend}") from error
    except ValueError as error:
        raise Unusable(f"{subject} holds a number of too many digits; write it as a string.") from error


def _holds_too_much(data: bytes) -> bool:
    """Whether the values of JSON text take more memory than `_MOST_OBJECT_BYTES`, the characters of strings apart."""
    if sum(data.count(mark) * size for mark, size in _OBJECT_BYTES.items()) <= _MOST_OBJECT_BYTES:
        return False
    total = 0
    for match in _MARKS.finditer(data):  # marks in strings do not count
        total += _OBJECT_BYTES.get(match[0], 0)
        if total > _MOST_OBJECT_BYTES:
            return True
    return False


def lines_of(file: BinaryIO, limit: int, size: int) -> Iterator[bytes]:
    """Lines of the first ``size`` bytes, with their ends. Of a longer one ``limit`` + 3 bytes are kept."""
    while line := file.readline(min(limit + 3, size)):
        size -= len(line)
        rest = line
        while len(line) == limit + 3 and rest and not rest.endswith(b"\n"):
            rest = file.readline(min(1 << 16, size))
            size -= len(rest)
        yield line


def record_of(value: object, subject: str) -> Mapping[str, Any]:
    """``value``, if it is an object whose keys differ. Raises `Unusable`."""
    if not isinstance(value, dict):
        raise Unusable(f"{subject[:1].upper()}{subject[1:]} is {kind_of(value)}, not an object; write it as one.")
    if isinstance(value, Repeated):
        raise Unusable(f"The key {value.key[:40]!r} of {subject} stands twice; keep the one that counts.")
    return value


def kind_of(value: object) -> str:
    """The JSON type of a value, in words."""
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
        Repeated: "an object",
        type(None): "null",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def label(record: Mapping[str, Any], field: str, subject: str) -> str:
    """A field of ``subject`` ("line 3") that names something, "" where it is missing or null. Raises `Unusable`."""
    value = record.get(field)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unusable(
            f"The field '{field}' of {subject} is {kind_of(value)}; make it a string or a whole number, or null."
        )
    return str(value)


def first_label(record: Mapping[str, Any], fields: tuple[str, ...], subject: str) -> str:
    """The first of ``fields`` that names ``subject``, "" where none does. Raises `Unusable`."""
    for field in fields:
        name = label(record, field, subject)
        if name.strip():
            if fault := text_fault(name):
                raise Unusable(f"The field '{field}' of {subject} cannot be stored. {fault}")
            return name
    return ""


def first_value(record: Mapping[str, Any], fields: tuple[str, ...]) -> tuple[str, Any]:
    """The first of ``fields`` that states something, with its value; ("", None) where all are null, "" or missing."""
    return next(((field, record[field]) for field in fields if record.get(field) not in (None, "")), ("", None))


def shown(value: object) -> str:
    """A value as a sentence quotes it: short, and with escapes for what has no form in UTF-8."""
    return repr(value[:40]) if isinstance(value, str) else f"{value}"[:40] if type(value) is int else kind_of(value)
