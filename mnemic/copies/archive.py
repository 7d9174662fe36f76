"""The form of a packed release: a tar file without compression, so that it unpacks to no more than it is.

First stands `mnemic-pack.json`, which lists all files with their sizes and hashes, and then these files follow in its
order, each a regular file below its dataset. Headers are read here, block by block: nothing but the files that are
listed is accepted, and an extension of tar, such as a link, a long name or a sparse file, is no such file.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from mnemic.errors import BankError
from mnemic.facts import LONGEST

BLOCK = 512
LISTING = "mnemic-pack.json"
MOST_LISTING = LONGEST
"""Bytes of the listing."""

CHUNK = 1 << 20
END = bytes(2 * BLOCK)
_LARGEST_USTAR = 8 << 30


def header(name: str, size: int) -> bytes:
    """The block before a file. It says nothing of who packed it when, so equal releases have equal archives."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    try:
        block = info.tobuf(tarfile.USTAR_FORMAT if size < _LARGEST_USTAR else tarfile.GNU_FORMAT, "utf-8")
    except ValueError as error:
        raise BankError(
            f"{name} has a path that is too long for an archive. Copy the bank with `mnemic copy`."
        ) from error
    if len(block) != BLOCK:
        raise BankError(f"{name} has a path that is too long for an archive. Copy the bank with `mnemic copy`.")
    return bytes(block)


def padding(size: int) -> bytes:
    """The zeros after a file of ``size`` bytes."""
    return bytes(-size % BLOCK)


def read_header(file: BinaryIO, archive: str) -> tuple[str, int]:
    """Name and size of the next file. Raises ``BankError`` where no regular file follows."""
    block = file.read(BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise strange(archive, "it ends too early, or is no archive") from error
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.size < 0:
        raise strange(archive, f"{info.name!r} is no regular file")
    return info.name, info.size


def contents(file: BinaryIO, size: int, archive: str) -> Iterator[bytes]:
    """The bytes of the file whose header was read last, and past the zeros after it."""
    left = size
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise strange(archive, "it ends too early")
        left -= len(chunk)
        yield chunk
    if file.read(len(padding(size))) != padding(size):
        raise strange(archive, "there is something between its files")


def strange(archive: str, reason: str) -> BankError:
    """The sentence for a file that `mnemic pack` did not write."""
    return BankError(
        f"{archive} is no archive that `mnemic pack` wrote, or it is damaged ({reason}), so nothing was unpacked. Pack "
        "the release again, or bring the archive over once more."
    )
