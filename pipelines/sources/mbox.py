"""Where the letters of an mbox stand, without holding it: a letter begins below a line "From ADDRESS DATE".

Text can begin with "From " too, and not every program writes ">From " then. So a line that begins with "From " counts
if two of three hold: a blank line stands before, it states a time and a year, and a header follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from pipelines.sources.json_values import MARK

BLOCK = 1 << 20
_AHEAD = 2_048
"""Bytes that are looked at behind a line's beginning."""

_DATED = re.compile(rb"[0-9]{1,2}:[0-9]{2}.*[0-9]{4}|[0-9]{4}.*[0-9]{1,2}:[0-9]{2}")
_HEADER = re.compile(rb">?[!-9;-~]{1,80}:(?:[ \t\r\n]|$)")
_ESCAPED = re.compile(rb"(?m)^>(>*From )")


def begins_mbox(head: bytes) -> bool:
    """Whether a file begins as an mbox does."""
    text = head.removeprefix(MARK).lstrip(b"\r\n")
    return text.startswith(b"From ") and _separates(text, 0, blank=False)


def letters(file: BinaryIO, start: int, size: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of the bytes of each letter between ``start`` and ``size``, without the line that separates it.

    What stands before the first one is given too, if it is no white space.
    """
    file.seek(start)
    buffer, offset = b"", start  # of the buffer in the file
    begin, searched, done = start, 0, False
    while not done:
        data = file.read(min(BLOCK, size - offset - len(buffer)))
        buffer += data
        done = not data
        stop = len(buffer) if done else len(buffer) - _AHEAD
        place = searched
        while (place := buffer.find(b"From ", place, max(stop, 0) + 4)) >= 0:
            at_start = offset + place == start
            if at_start or buffer[place - 1 : place] == b"\n":
                blank = at_start or buffer[max(0, place - 3) : place].endswith((b"\n\n", b"\n\r\n"))
                if _separates(buffer, place, blank):
                    if offset + place > begin:
                        yield begin, offset + place
                    line = buffer.find(b"\n", place, place + _AHEAD)
                    begin = offset + (line + 1 if line >= 0 else len(buffer) if done else place + _AHEAD)
            place += 5
        searched = max(searched, stop, 0)
        first = max(0, searched - 8)
        buffer, offset, searched = buffer[first:], offset + first, searched - first
    if size > begin:
        yield begin, size


def _separates(data: bytes, place: int, blank: bool) -> bool:
    end = data.find(b"\n", place, place + _AHEAD)
    if end < 0:
        return False
    dated = _DATED.search(data, place, end) is not None
    headed = _HEADER.match(data, end + 1, end + 200) is not None
    return blank + dated + headed >= 2


def unescape(data: bytes) -> bytes:
    """A letter as it was before ">" was put before lines that begin with "From "."""
    return _ESCAPED.sub(rb"\1", data)
