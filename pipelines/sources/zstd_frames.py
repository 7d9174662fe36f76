"""Whether a zstd file is whole (RFC 8878): its library reads one that is cut off to the cut, and says nothing.

Only the headers of frames and blocks are read, so it takes no longer for a large file.
"""

from __future__ import annotations

from typing import BinaryIO

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_RLE = 1


def is_whole(file: BinaryIO, size: int) -> bool:
    """Whether the open file of ``size`` bytes ends where a frame does; it stands at its beginning after."""
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(18)
        magic = int.from_bytes(head[:4], "little")
        if magic & ~0xF == _SKIPPABLE:
            place += 8 + int.from_bytes(head[4:8], "little")
        elif magic == _MAGIC and len(head) > 4:
            place = _end_of_frame(file, place, head[4], size)
        else:
            break  # no frame: its library says so
    file.seek(0)
    return place <= size


def _end_of_frame(file: BinaryIO, place: int, descriptor: int, size: int) -> int:
    """The byte behind a frame; beyond ``size`` where it is cut off."""
    single, checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    content = (single, 2, 4, 8)[descriptor >> 6]
    place += 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + content
    while place + 3 <= size:
        file.seek(place)
        block = int.from_bytes(file.read(3), "little")
        kind, length = block >> 1 & 3, block >> 3
        place += 3 + (1 if kind == _RLE else length)
        if block & 1:
            return place + 4 * checksum
    return size + 1
