"""Tiny files of records: tables, archives, crawls."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench.sources.document_files import zipped

ROWS: list[dict[str, Any]] = [
    {
        "name": f"n{number}",
        "body": f"Row {number} tells of {topic}, “quoted” and, with commas;\nit has two lines.",
        "at": datetime(2026, 3, 1 + number, 12, 30, tzinfo=UTC),
        "by": "Ada" if number % 2 else "Bob",
    }
    for number, topic in enumerate(("roses", "pistons", "strings", "tides", "yeast", "maps", "owls"))
]
SETTINGS: Mapping[str, Any] = {
    "text_field": "body",
    "id_field": "name",
    "time_field": "at",
    "speaker_field": "by",
    "columns": {"by": "text", "at": "time"},
}
INSIDE: Mapping[str, Any] = {"inside": {"csv": {"text_field": "body"}, "parquet": {"text_field": "body"}}}


def _csv() -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]))
    writer.writeheader()
    writer.writerows([row | {"at": row["at"].isoformat()} for row in ROWS])
    return text.getvalue().encode()


def _lines() -> bytes:
    return "".join(json.dumps(row | {"at": row["at"].isoformat()}) + "\n" for row in ROWS).encode()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), data, row_group_size=2)
    return data.getvalue()


def _arrow(stream: bool = False) -> bytes:
    import pyarrow as pa

    data = io.BytesIO()
    table = pa.Table.from_pylist(ROWS)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(data, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return data.getvalue()


def _stream() -> bytes:
    return _arrow(stream=True)


def _state() -> bytes:
    return json.dumps({"_data_files": [{"filename": "data.arrow"}], "_split": "train"}).encode()


def _zip() -> bytes:
    return zipped({"rows.csv": _csv(), "rows.parquet": _parquet(), "a/b.txt": "A text in an archive."})


def _tar() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in (("rows.csv", _csv()), ("a/b.txt", b"A text in an archive.")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # equal data is equal bytes


def _zstd() -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=False).compress(_lines())


def response(number: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> bytes:
    """The record of a crawl that page ``number`` answered ``body``, which is of the type ``kind``."""
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://e.example/{number}\r\n"
        "WARC-Date: 2026-01-02T03:04:05Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def _records() -> list[bytes]:
    records = []
    for number in range(5):
        body = f"Page {number} tells of owls and of what they eat.".encode()
        page = b"<html><title>Owls</title><body><p>" + body * 3 + b"</p></body></html>"
        records.append(response(number, page, "text/html") if number % 2 else response(number, body))
    return records


LINES: Mapping[str, Any] = {"inside": {"folder": {"text_field": "body"}}}

SAMPLES: dict[str, tuple[Any, ...]] = {
    "csv": ("csv", {"rows.csv": _csv}, SETTINGS),
    "json-lines": ("folder", {"rows.jsonl": _lines}, SETTINGS),
    "parquet": ("parquet", {"rows.parquet": _parquet}, SETTINGS),
    "arrow": ("arrow", {"rows.arrow": _arrow}, SETTINGS),
    "arrow-stream": ("arrow", {"rows.arrows": _stream}, SETTINGS),
    "hf-dataset": ("hf-dataset", {"state.json": _state, "data.arrow": _stream}, SETTINGS),
    "zip": ("archive", {"all.zip": _zip}, INSIDE),
    "tar": ("archive", {"all.tar": _tar}, INSIDE),
    "tar.gz": ("archive", {"all.tar.gz": lambda: _gzip(_tar())}, INSIDE),
    "gz": ("archive", {"rows.jsonl.gz": lambda: _gzip(_lines())}, LINES),
    "bz2": ("archive", {"rows.jsonl.bz2": lambda: bz2.compress(_lines())}, LINES),
    "xz": ("archive", {"rows.jsonl.xz": lambda: lzma.compress(_lines())}, LINES),
    "zst": ("archive", {"rows.jsonl.zst": _zstd}, LINES),
    "warc": ("warc", {"a.warc": lambda: b"".join(_records())}),
    "warc.gz": ("warc", {"a.warc.gz": lambda: b"".join(map(_gzip, _records()))}),
}
"""Format -> kind of its source, its files, and settings."""
