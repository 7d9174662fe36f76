"""Memory of reading a file of a gigabyte: how much more a process takes than for a file of three records.

    python -m bench.sources.memory [--megabytes 1000] [FORMAT ...]

Each format is read in a process of its own, whole, though a build reads the large ones in parts. The growth is that of
the largest resident set by the kernel's account (VmHWM).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.sources.record_files import response

MOST = 200.0
"""MB that a process may grow by."""

_WORDS = [f"w{number}{'aeiou'[number % 5] * (number % 7)}" for number in range(5000)]


def _texts(size: int) -> Iterator[str]:
    """Texts of 200 to 4,000 bytes, ``size`` bytes in all."""
    draw = random.Random(1)
    pool = [" ".join(draw.choices(_WORDS, k=draw.randrange(30, 600))) for _ in range(500)]
    number = 0
    while size > 0:
        text = f"{number} {pool[number % len(pool)]}"
        number += 1
        size -= len(text)
        yield text


def write_lines(path: Path, size: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(_texts(size)))


def write_csv(path: Path, size: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows((n, text) for n, text in enumerate(_texts(size)))


def write_parquet(path: Path, size: int) -> None:
    """One row group, uncompressed: the worst that writers make."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = list(_texts(size))
    table = pa.table({"id": range(len(texts)), "text": texts})
    pq.write_table(table, path, compression="none", row_group_size=len(texts), use_dictionary=False)


def write_arrow(path: Path, size: int) -> None:
    import pyarrow as pa

    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        rows: list[str] = []
        for text in _texts(size):
            rows.append(text)
            if len(rows) == 1000:  # as `datasets` writes them
                writer.write_batch(pa.record_batch([range(1000), rows], schema=schema))
                rows = []


def write_warc(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for number, text in enumerate(_texts(size)):
            file.write(gzip.compress(response(number, text.encode()), 1))


def write_gzip(path: Path, size: int) -> None:
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        file.writelines(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(_texts(size)))


def write_zip(path: Path, size: int) -> None:
    """Many notes, and a table of half the size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        lines = "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(_texts(size // 2)))
        archive.writestr("rows.jsonl", lines)
        for number, text in enumerate(_texts(size // 2)):
            if number % 4 == 0:  # a zip may have 100,000 members
                archive.writestr(f"notes/{number}.txt", text * 4)


def write_tar(path: Path, size: int) -> None:
    with tarfile.open(path, "w") as archive:
        for number, text in enumerate(_texts(size)):
            entry = tarfile.TarInfo(f"notes/{number}.txt")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


FORMATS: dict[str, tuple[str, str, Callable[[Path, int], None]]] = {
    "jsonl": ("folder", "a.jsonl", write_lines),
    "csv": ("csv", "a.csv", write_csv),
    "parquet": ("parquet", "a.parquet", write_parquet),
    "arrow": ("arrow", "a.arrow", write_arrow),
    "warc": ("warc", "a.warc.gz", write_warc),
    "gzip": ("archive", "a.jsonl.gz", write_gzip),
    "zip": ("archive", "a.zip", write_zip),
    "tar": ("archive", "a.tar", write_tar),
}
"""Format -> the kind of its source, the name of a file, and what writes it."""


def _read(kind: str, path: Path) -> tuple[int, int]:
    """(documents, rejects) of a file."""
    from pipelines.sources.contracts import Document, FilePart
    from pipelines.sources.kinds import find_source

    source = find_source(kind)(path=str(path))  # type: ignore[call-arg]
    documents = rejects = 0
    items = source.manifest()
    if items[0].part is not None:  # all of it in this process
        items = [replace(items[0], part=FilePart(0, 1, 0, items[0].size))]
    for item in items:
        for result in source.read(item, 10_000_000):
            documents += isinstance(result, Document)
            rejects += not isinstance(result, Document)
    return documents, rejects


def _peak() -> int:
    """Bytes of the largest resident set; `getrusage` counts that of the starting process, too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def _child(kind: str, small: Path, large: Path) -> None:
    _read(kind, small)
    before = _peak()
    started = time.perf_counter()
    documents, rejects = _read(kind, large)
    seconds = time.perf_counter() - started
    growth = (_peak() - before) / 1e6
    print(json.dumps({"growth": growth, "seconds": seconds, "documents": documents, "rejects": rejects}))


def main() -> int:
    """Exit code 1 where a format grows by more than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.sources.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}; default: all")
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the text in a file (default 1000)")
    parser.add_argument("--child", nargs=3, metavar=("KIND", "SMALL", "LARGE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, small, large = arguments.child
        _child(kind, Path(small), Path(large))
        return 0
    missed = False
    for name in arguments.formats or FORMATS:
        kind, file, write = FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            small, large = Path(folder) / f"small-{file}", Path(folder) / file
            write(small, 10_000)
            write(large, arguments.megabytes * 1_000_000)
            command = [sys.executable, "-m", "bench.sources.memory", "--child", kind, str(small), str(large)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            report = json.loads(done.stdout.splitlines()[-1])
            size = large.stat().st_size / 1e6
        missed |= report["growth"] > MOST
        print(
            f"{name:<8} {size:>8,.0f} MB file  grows by {report['growth']:>6.1f} MB (must {MOST:.0f})  "
            f"{report['documents']:>9,} documents, {report['rejects']} rejects, {size / report['seconds']:>6.1f} MB/s",
            flush=True,
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
