"""Web archives: WARC as crawlers write it, and WET, which holds the text alone (ISO 28500).

A document is a response with status 200, read by the source of its kind; its place is the byte at which the record
begins. The text knows its `url`, and when it was `captured`. A damaged record costs itself: reading goes on with the
next one that begins.
"""

from __future__ import annotations

import codecs
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.inside import Inside
from pipelines.sources.json_values import MARK
from pipelines.sources.text import decode_text, open_failed, text_fault

GZIP = b"\x1f\x8b\x08"
_BEGIN = re.compile(rb"WARC/[0-9]\.[0-9]\r?\n")
_HTML = ("text/html", "application/xhtml+xml")
_ENDINGS = {**dict.fromkeys(_HTML, ".html"), "application/pdf": ".pdf", "text/plain": ".txt", "text/markdown": ".md"}
"""Content types that are looked into, and the ending that a file of one has."""

_LONGEST_URL = 4000
_CUT = "is cut off in this record or behind it; copy it again."


def recognise(name: str, head: bytes) -> bool:
    """A record's first line, as it stands or under gzip."""
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(31).decompress(head[:4096], 16)
        except zlib.error:
            return False
    return _BEGIN.match(head) is not None


class Warc(Inside):
    """WARC and WET files below ``path``, gzipped or not; settings for pages stand in ``inside`` under `html`."""

    version: ClassVar[int] = 1
    library: ClassVar[str] = "fastwarc"

    kind: Literal["warc"] = "warc"
    name: str = "warc"
    suffixes: list[str] = Field(default=[".warc", ".warc.gz", ".wet", ".wet.gz"], min_length=1)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        from fastwarc.warc import ArchiveIterator, WarcRecordType

        kinds = WarcRecordType.response | WarcRecordType.conversion
        left_out: Counter[str] = Counter()
        begin = last = 0  # of this run of records, of the last good one
        reported = False  # of damage behind which no good record has come yet
        with file:
            try:
                packed = file.read(3) == GZIP
                while begin >= 0:
                    file.seek(begin)
                    last, fault = begin, ""
                    try:
                        for record in ArchiveIterator(file, record_types=kinds, parse_http=True, auto_decode="all"):
                            last, reported = begin + int(record.stream_pos), False
                            yield from self._of_record(record, f"{locator}#{last}", max_document_bytes, left_out)
                    except (OSError, ValueError, OverflowError, MemoryError) as error:
                        if isinstance(error, OSError) and error.errno:
                            raise
                        fault = " ".join(str(error).split())[:120] or type(error).__name__
                    if not fault and packed and not _is_whole(file, last):
                        yield Reject(
                            f"{locator}#{last}", "The file is cut off in this record or behind it; copy it again."
                        )
                    if not fault:
                        break
                    if not reported:
                        reason = f"Behind this record a damaged one stands ({fault}); copy the file again."
                        yield Reject(f"{locator}#{last}", reason)
                        reported = True
                    begin = _next_record(file, last + 1, packed)
            except OSError as error:
                yield Reject(locator, open_failed(error))
        if left_out:
            shown = ", ".join(f"{count:,} of {what}" for what, count in left_out.most_common(6))
            yield Reject(locator, f"It holds {left_out.total():,} records that are no text: {shown}.", "empty")

    def _of_record(self, record: Any, place: str, limit: int, left_out: Counter[str]) -> Iterator[Document | Reject]:
        status = record.http_headers.status_code if record.http_headers is not None else 200
        kind = (record.http_content_type or "text/plain").lower()
        if status != 200:
            left_out[f"status {status}"] += 1
            return
        if kind not in _ENDINGS:
            left_out[re.sub(r"[^a-z0-9/.+-]", "?", kind)[:60]] += 1
            return
        data = record.reader.read(limit + 1)
        if len(data) > limit:
            yield Reject(place, f"It is larger than a document may be ({limit:,} bytes); raise `max_document_bytes`.")
            return
        if len(data) < record.content_length and not _is_encoded(record):
            yield Reject(place, f"The file {_CUT}")
            return
        url = str(record.headers.get("WARC-Target-URI") or "")[:_LONGEST_URL]
        stated: dict[str, object] = {} if text_fault(url) or not url else {"url": url}
        captured = _time(record)
        if captured is not None:
            stated["captured"] = captured
        for result in self._of_data(data, kind, record.http_charset, place, limit):
            if isinstance(result, Reject):
                yield result
                continue
            yield replace(
                result,
                time=result.time or captured,
                collection=_host(url),
                metadata={**stated, **result.metadata},
            )

    def _of_data(
        self, data: bytes, kind: str, charset: str | None, place: str, limit: int
    ) -> Iterator[Document | Reject]:
        if kind in ("text/plain", "text/markdown"):
            text = decode_text(_as_utf8(data, charset), place)
            yield text if isinstance(text, Reject) else Document(place, text)
            return
        packed = _as_utf8(data, charset) if kind in _HTML else data
        yield from self.member(io.BytesIO(packed), f"page{_ENDINGS[kind]}", place, limit)


def _is_encoded(record: Any) -> bool:
    """Whether the length that the header states is not that of what it holds."""
    headers = record.http_headers
    return headers is not None and any(headers.get(name) for name in ("Content-Encoding", "Transfer-Encoding"))


def _host(url: str) -> str:
    """The host of an address, "" for none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _as_utf8(data: bytes, charset: str | None) -> bytes:
    """``data`` in UTF-8 where the header names another encoding, with a mark that outdoes what a page says itself."""
    try:
        name = codecs.lookup(charset or "utf-8").name
        return data if name == "utf-8" else MARK + data.decode(name, "replace").encode("utf-8", "replace")
    except (LookupError, ValueError):
        return data


def _time(record: Any) -> datetime | None:
    try:
        date = record.record_date
    except (ValueError, OverflowError):
        return None
    if not isinstance(date, datetime):
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)


def _is_whole(file: BinaryIO, begin: int) -> bool:
    """Whether the gzip members from ``begin`` on end where the file does."""
    file.seek(begin)
    member, begun = zlib.decompressobj(31), False
    try:
        while data := file.read(1 << 16):
            while data.strip(b"\0") or (data and begun):
                member.decompress(data, 1 << 20)
                data, begun = member.unconsumed_tail, not member.eof
                if member.eof:
                    data, member = member.unused_data, zlib.decompressobj(31)
    except zlib.error:
        return False
    return not begun


def _next_record(file: BinaryIO, begin: int, packed: bool) -> int:
    """Where the next record may begin, from ``begin`` on; -1 for none."""
    sign = GZIP if packed else b"WARC/1."
    place = begin
    file.seek(place)
    tail = b""
    while data := file.read(1 << 20):
        window = tail + data
        at = window.find(sign)
        if at >= 0:
            return place - len(tail) + at
        place += len(data)
        tail = window[-len(sign) + 1 :]
    return -1
