"""Large files of lines in parts, so that one file is work for many workers.

A file is divided by its size alone, so a plan opens nothing. A record belongs to the part in which it begins. Where
that is, and how many lines are before it, one pass over the file tells: a worker's, for each file. Records keep the
numbers that they have in the whole file, however many parts it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO

from pipelines.sources.contracts import Item, Reject

CHUNK = 16 << 20
"""Bytes that are looked through at a time."""

Advance = Callable[[bytes, int], tuple[int, int, bool]]
"""Goes on over bytes, to behind the first record that ends at ``stop`` or later: (bytes passed, lines in them, True).

Where none ends there it passes all bytes, says False, and remembers whether a record is open.
"""


def lines(data: bytes, stop: int) -> tuple[int, int, bool]:
    """`Advance` for records that are lines."""
    at = -1 if stop > len(data) else data.find(b"\n", max(stop - 1, 0))
    passed = len(data) if at < 0 else at + 1
    return passed, data.count(b"\n", 0, passed), at >= 0


def located(file: BinaryIO | Reject, items: list[Item], advance: Advance) -> Iterator[Item]:
    """``items``, parts of the open ``file`` in order, each with the place where it begins and ends; closes the file.

    Of a file that cannot be read they stay as they are, and reading them says why.
    """
    if isinstance(file, Reject):
        yield from items
        return
    with file:
        begins, place, line = [(0, 1)], 0, 0
        for item in items:
            part = item.part
            assert part is not None
            while len(begins) <= min(part.number + 1, part.of - 1):
                nominal = item.size * len(begins) // part.of
                ended = place >= nominal
                while not ended and (data := file.read(CHUNK)):
                    passed, count, ended = advance(data, nominal - place)
                    place, line = place + passed, line + count
                    if passed < len(data):
                        file.seek(place)
                begins.append((place, line + 1))
            begin, first = begins[part.number]
            end = item.size if part.number == part.of - 1 else begins[part.number + 1][0]
            yield replace(item, part=replace(part, begin=begin, end=end, first=first))
