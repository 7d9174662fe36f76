"""Archives and compressed files: zip, tar, gz, bz2, xz, zst, and archives in them.

Nothing is written to the place that a name says: a member is read where it lies, or stands in a temporary file without
a name. Links, absolute names and names with `..` are refused. A file may unpack to a hundred times its size; what does
more is a bomb, and reading ends there. Archives in archives in archives are not opened.
"""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import IO, BinaryIO, ClassVar, Literal, cast

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.inside import Inside, pour, spooled
from pipelines.sources.office import open_document
from pipelines.sources.text import open_failed, size_of
from pipelines.sources.zstd_frames import is_whole

RATIO = 100
"""Bytes that may come out of a byte of an archive."""
FREE = 64 << 20
"""Bytes that may come out of any archive, however small."""
DEEPEST = 2
"""Archives in each other."""
MOST = 100_000
"""Members of a zip, whose directory is read at once."""
LONGEST_HEADER = 1 << 20
"""Bytes of a header of a tar that states a long name, or more of the member behind it; it is read at once."""

ZIP, GZIP, BZIP2, XZ, ZSTD = b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_ENDINGS = {GZIP: (".gz", ".tgz"), BZIP2: (".bz2", ".tbz2", ".tbz"), XZ: (".xz", ".txz"), ZSTD: (".zst", ".zstd")}
_BLOCK = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
"""How a file of bzip2 begins, with a block or with its end."""

_ENCRYPTED = 1
_RAISED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(ValueError, NotImplementedError, RuntimeError, OverflowError, MemoryError, IndexError, KeyError),
)
_COPY = "copy or pack it again."


def recognise(name: str, head: bytes) -> bool:
    """Their magic; a tar has it behind its first name. A file of OpenDocument is a zip, and no archive."""
    packed = _magic(name, head) is not None or head.startswith(b"PK\5\6") or _is_tar(head)
    return packed and not open_document(head)


def _magic(name: str, head: bytes) -> bytes | None:
    """The magic that ``head`` begins with. That of bzip2 is three letters: text that they begin is none."""
    magic = next((one for one in (ZIP, *_ENDINGS) if head.startswith(one)), None)
    if magic == BZIP2 and not _BLOCK.match(head) and not name.lower().endswith(_ENDINGS[BZIP2]):
        return None
    return magic


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


class _TooMuch(Exception):
    """More comes out than may."""


class _Unpacked(io.RawIOBase):
    """A stream that counts what comes out of it, and what may."""

    def __init__(self, stream: IO[bytes], budget: _Budget, most: int = 1 << 20) -> None:
        self._stream, self._budget, self._most = stream, budget, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        read = getattr(self._stream, "read1", self._stream.read)  # keeps what comes before an error
        data = read(min(len(buffer), self._most))
        self._budget.take(len(data))
        buffer[: len(data)] = data
        return len(data)


class _Budget:
    """Bytes that may still come out of one file, whatever is in it."""

    def __init__(self, size: int) -> None:
        self.left = max(FREE, RATIO * size)

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _TooMuch


class _Header(tarfile.TarInfo):
    """A header that is refused where it states so much that reading it would take the memory."""

    _STATING = (
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
        *(tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE),
    )

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._STATING and self.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class Archives(Inside):
    """Archives and compressed files below ``path``; every file in them is read by the source of its kind."""

    version: ClassVar[int] = 1

    kind: Literal["archive"] = "archive"
    name: str = "archive"
    suffixes: list[str] = Field(
        default=[".zip", ".tar", *(ending for endings in _ENDINGS.values() for ending in endings)], min_length=1
    )

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        with file:
            budget = _Budget(size_of(file))
            yield from self._unpacked(file, locator, max_document_bytes, 1, budget)

    def _unpacked(
        self, file: BinaryIO, locator: str, limit: int, depth: int, budget: _Budget
    ) -> Iterator[Document | Reject]:
        head = file.read(512)
        file.seek(0)
        magic = _magic(locator, head)
        try:
            if magic == ZIP or head.startswith(b"PK\5\6"):
                yield from self._zip(file, locator, limit, depth, budget)
            elif magic is not None:
                stream = _decompressed(file, magic)
                if isinstance(stream, str):
                    yield Reject(locator, stream)
                    return
                unpacked = io.BufferedReader(cast(io.RawIOBase, _Unpacked(stream, budget)), 1 << 20)
                cut = magic == ZSTD and not is_whole(file, size_of(file))
                yield from self._stream(unpacked, magic, locator, limit, depth, budget)
                if cut:
                    yield Reject(locator, f"It is cut off, and was read up to there; {_COPY}")
            elif _is_tar(head):
                with _streamed_tar(_Unpacked(file, budget)) as archive:
                    yield from self._tar(archive, locator, limit, depth, budget)
            else:
                yield Reject(locator, f"It is none of zip, tar, gz, bz2, xz and zst, whatever its name says; {_COPY}")
        except _TooMuch:
            yield Reject(
                locator,
                f"More than {RATIO} times its size comes out of it, so reading ended there; unpack it, and name the"
                " folder as a source.",
            )
        except OSError as error:
            yield Reject(locator, open_failed(error) if error.errno else _damaged(error))
        except _RAISED as error:
            yield Reject(locator, _damaged(error))
        except Exception as error:  # zstandard's own, which is no kind of these
            if type(error).__module__.partition(".")[0] != "zstandard":
                raise
            yield Reject(locator, _damaged(error))

    def _zip(
        self, file: BinaryIO, locator: str, limit: int, depth: int, budget: _Budget
    ) -> Iterator[Document | Reject]:
        members = _members_of_zip(file)
        if members > MOST:
            yield Reject(locator, f"It has {members:,} members; more than {MOST:,} are not opened, so unpack it.")
            return
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = _plain(member.filename)
                place = f"{locator}!{name}"
                if member.is_dir() or _hidden(name):
                    continue
                fault = _fault_of_name(name)
                if member.external_attr >> 28 == 0xA:
                    fault = "It is a link, which is not followed in an archive; pack the file itself."
                if member.flag_bits & _ENCRYPTED:
                    fault = "It is encrypted; unpack it with its password, and name the folder as a source."
                if fault:
                    yield Reject(place, fault)
                    continue
                try:
                    with _member_of_zip(archive, member) as stream:
                        # All that comes out of so many bytes of LZMA comes at once, 7,000 times their number.
                        most = 1 << 12 if member.compress_type == zipfile.ZIP_LZMA else 1 << 20
                        unpacked = _Unpacked(stream, budget, most)
                        yield from self._file(cast(IO[bytes], unpacked), name, place, limit, depth, budget)
                except (*_RAISED, OSError) as error:
                    yield Reject(place, _damaged(error))

    def _tar(
        self, archive: tarfile.TarFile, locator: str, limit: int, depth: int, budget: _Budget
    ) -> Iterator[Document | Reject]:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # a stream remembers every member else
            name = _plain(member.name)
            if member.isdir() or _hidden(name):
                continue
            place = f"{locator}!{name}"
            fault = _fault_of_name(name)
            if not member.isreg():
                fault = "It is a link or a device, which is not followed in an archive; pack the file itself."
            stream = None if fault else archive.extractfile(member)
            if stream is None:
                yield Reject(place, fault or "It has no content; pack the file itself.")
                continue
            if member.issparse():  # its holes stand nowhere in the archive
                budget.take(min(max(member.size, 0), self.max_file_bytes))
            yield from self._file(stream, name, place, limit, depth, budget)

    def _stream(
        self, stream: IO[bytes], magic: bytes, locator: str, limit: int, depth: int, budget: _Budget
    ) -> Iterator[Document | Reject]:
        """What a compressed file holds: a tar, or one file that has its name without the ending."""
        if _is_tar(cast(io.BufferedReader, stream).peek(512)[:512]):
            with _streamed_tar(stream) as archive:
                yield from self._tar(archive, locator, limit, depth, budget)
            return
        stem, ending = os.path.splitext(os.path.basename(locator.rpartition("!")[2]))
        name = stem if ending.lower() in _ENDINGS[magic] else f"{stem}{ending}"
        yield from self._file(stream, name, f"{locator}!{name}", limit, depth, budget)

    def _file(
        self, stream: IO[bytes], name: str, place: str, limit: int, depth: int, budget: _Budget
    ) -> Iterator[Document | Reject]:
        with spooled() as file:
            fault = ""
            try:
                if not pour(stream, file, self.max_file_bytes):
                    yield Reject(
                        place, f"It unpacks to more than `max_file_bytes` ({self.max_file_bytes:,}); raise it."
                    )
                    return
            except (*_RAISED, OSError) as error:
                fault = _damaged(error, "The rest of it")
            except Exception as error:
                if type(error).__module__.partition(".")[0] != "zstandard":
                    raise
                fault = _damaged(error, "The rest of it")
            file.seek(0)
            head = file.read(512)
            file.seek(0)
            if recognise(name, head) and _is_bare(name):
                if depth >= DEEPEST:
                    yield Reject(place, f"It is an archive {depth + 1} deep in others; unpack the outer ones.")
                else:
                    yield from self._unpacked(file, place, limit, depth + 1, budget)
            elif head or not fault:
                yield from self.member(file, name, place, limit)
            if fault:
                yield Reject(place, fault)


def _is_bare(name: str) -> bool:
    """Whether the name is one of an archive; a book or a page of an office is a zip, too."""
    endings = (".zip", ".tar", *(ending for endings in _ENDINGS.values() for ending in endings))
    return name.lower().endswith(endings)


def _decompressed(file: BinaryIO, magic: bytes) -> IO[bytes] | str:
    """The stream that comes out of a compressed file, or why there is none."""
    if magic == GZIP:
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if magic == BZIP2:
        return cast(IO[bytes], bz2.BZ2File(file))
    if magic == XZ:
        return cast(IO[bytes], lzma.LZMAFile(file))
    if find_spec("zstandard") is None:
        return (
            "It is compressed with zstd, for which the package zstandard is not installed; install it with"
            " `pip install 'mnemic[sources]'`."
        )
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    return cast(IO[bytes], decompressor.stream_reader(file, read_across_frames=True, closefd=False))


def _member_of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """The content of a member. Of bzip2 a million bytes come out of one, and zipfile takes them all at once."""
    if member.compress_type != zipfile.ZIP_BZIP2:
        return archive.open(member)
    packed = copy.copy(member)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, member.compress_size
    del packed.CRC  # that of what comes out; bzip2 has sums of its own
    return cast(IO[bytes], bz2.BZ2File(archive.open(packed)))


def _streamed_tar(stream: IO[bytes] | _Unpacked) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", tarinfo=_Header)


def _members_of_zip(file: BinaryIO) -> int:
    """How many members the end of a zip speaks of, or its directory holds if these are more; 0 where it has no end."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 65_557)  # the end is 22 bytes, and a comment of at most 65,535
    file.seek(start)
    tail = file.read()
    file.seek(0)
    place = len(tail) - 22 if tail[-22:-18] == b"PK\5\6" else tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) < place + 22:
        return 0
    (members, directory) = struct.unpack("<HI", tail[place + 10 : place + 16])
    end, wide = start + place, place - 76  # where zipfile looks for the wide end, whatever the short one says
    if wide >= 0 and tail[wide + 56 : wide + 60] == b"PK\6\7" and tail[wide : wide + 4] == b"PK\6\6":
        members, directory = struct.unpack("<QQ", tail[wide + 32 : wide + 48])
        end -= 76
    return max(int(members), _entries(file, end - directory, end))


def _entries(file: BinaryIO, begin: int, end: int) -> int:
    """How many entries of a zip's directory can be in these bytes; the file stands at its beginning after."""
    file.seek(max(begin, 0))
    count, left, rest = 0, end - max(begin, 0), b""
    while left > 0 and (data := file.read(min(left, 1 << 20))):
        left -= len(data)
        count += (rest + data).count(b"PK\1\2")
        rest = data[-3:]
    file.seek(0)
    return count


def _fault_of_name(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(parts[0]) == 2 and parts[0].endswith(":")):
        return "Its name leads out of the archive; pack it under a relative name without `..`."
    return ""


def _hidden(name: str) -> bool:
    """Whether it is left out, as hidden files of folders are; macOS adds a folder of its own."""
    parts = name.split("/")
    return any(part.startswith(".") and part not in (".", "..") for part in parts) or "__MACOSX" in parts


def _plain(name: str) -> str:
    """A name as a locator can hold it."""
    shown = name.encode("utf-8", "backslashreplace").decode()
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in shown).removeprefix("./")


def _damaged(error: Exception, what: str = "It") -> str:
    reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    return f"{what} cannot be unpacked ({reason}); {_COPY}"
