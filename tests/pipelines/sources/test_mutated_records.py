"""Damaged files of records, archives and crawls: no error leaves a reader, none hangs, and good rows are kept."""

import gzip
import io
import tarfile
import time
import zipfile

import pytest
import record_files as files
from mutations import mutations

from bench.sources.record_files import response
from pipelines.sources.archives import Archives
from pipelines.sources.arrow import ArrowFiles
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.delimited import Delimited
from pipelines.sources.folder import Folder
from pipelines.sources.hugging_face import HuggingFace
from pipelines.sources.kinds import find_source
from pipelines.sources.parquet import Parquet

LIMIT = 1_000_000
TIMES = 200
INSIDE = {"csv": {"text_field": "body"}, "parquet": {"text_field": "body"}}


def zipped(table: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", table)
        archive.writestr("a/b.txt", "A text in an archive.")
    return packed.getvalue()


def tarred(table: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("rows.csv")
        entry.size = len(table)
        archive.addfile(entry, io.BytesIO(table))
    return packed.getvalue()


def warc() -> bytes:
    bodies = (f"Page {number} tells of owls.".encode() * 4 for number in range(6))
    return b"".join(gzip.compress(response(number, body, "text/plain")) for number, body in enumerate(bodies))


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


def made(write, name):
    def make(folder):
        return write(folder / name).read_bytes()

    return name, make


def packed(pack, name):
    def make(folder):
        return pack(files.write_csv(folder / "rows.csv").read_bytes())

    return name, make


FORMATS = {
    "csv": (Delimited, files.SETTINGS, made(files.write_csv, "rows.csv")),
    "jsonl": (Folder, files.SETTINGS, made(files.write_lines, "rows.jsonl")),
    "parquet": (Parquet, files.SETTINGS, made(files.write_parquet, "rows.parquet")),
    "arrow": (ArrowFiles, files.SETTINGS, made(files.write_arrow, "rows.feather")),
    "stream": (ArrowFiles, files.SETTINGS, made(files.write_stream, "rows.arrows")),
    "zip": (Archives, {"inside": INSIDE}, packed(zipped, "all.zip")),
    "tar": (Archives, {"inside": INSIDE}, packed(tarred, "all.tar")),
    "tar.gz": (Archives, {"inside": INSIDE}, packed(lambda table: gzip.compress(tarred(table)), "all.tar.gz")),
    "zst": (Archives, {"inside": INSIDE}, packed(zstd, "rows.csv.zst")),
}


def read(source):
    results = []
    for item in source.manifest():
        for result in source.read(item, LIMIT):
            assert isinstance(result, Document | Reject)
            assert result.locator
            if isinstance(result, Reject):
                assert result.reason.endswith("."), result
                assert len(result.reason) < 600
            else:
                result.text.encode()
            results.append(result)
    return results


@pytest.mark.parametrize("name", FORMATS)
def test_damage_never_ends_a_reader(name, tmp_path):
    source, settings, (file, make) = FORMATS[name]
    data = make(tmp_path)
    path = tmp_path / "damaged" / file
    path.parent.mkdir()
    reader = source(path=str(path), **settings)
    for damaged, _, _ in mutations(data, TIMES, name):
        path.write_bytes(damaged)
        started = time.monotonic()
        read(reader)
        assert time.monotonic() - started < 10


def test_damage_never_ends_a_reader_of_crawls(tmp_path):
    pytest.importorskip("fastwarc")
    data = warc()
    path = tmp_path / "a.warc.gz"
    reader = find_source("warc")(path=str(path))
    lost = 0
    for damaged, begin, _ in mutations(data, TIMES, "warc"):
        path.write_bytes(damaged)
        started = time.monotonic()
        texts = [one.text for one in read(reader) if isinstance(one, Document)]
        assert time.monotonic() - started < 10
        size = len(data) // 6
        lost += sum(f"Page {n} tells of owls." * 4 not in texts for n in range(6) if (n + 2) * size < begin)
    assert lost == 0, "records before the damage are read"


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_rows_that_are_not_damaged_are_kept(name, tmp_path):
    source, settings, (file, _) = FORMATS[name]
    rows = [row | {"body": row["body"].replace("\n", " ")} for row in files.ROWS]
    write = files.write_csv if name == "csv" else files.write_lines
    data = write(tmp_path / file, rows=rows).read_bytes()
    lines = data.splitlines(keepends=True)
    places = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    bodies = [row["body"] for row in rows]
    header = name == "csv"
    for damaged, begin, end in mutations(data, TIMES, f"rows of {name}"):
        if header and begin < places[1]:
            continue  # the names of the columns are damaged
        (tmp_path / file).write_bytes(damaged)
        texts = {one.text for one in read(source(path=str(tmp_path / file), **settings)) if isinstance(one, Document)}
        for number, body in enumerate(bodies, start=int(header)):
            first, last = places[number], places[number + 1]
            if last <= begin or (first > end and end < len(data)):
                assert body in texts, (damaged, number)


def test_a_damaged_state_of_a_saved_dataset(tmp_path):
    from mnemic.errors import SourceError

    folder = files.write_saved_dataset(tmp_path / "saved")
    state = folder / "train" / "state.json"
    data = state.read_bytes()
    for damaged, _, _ in mutations(data, TIMES, "state"):
        state.write_bytes(damaged)
        try:
            read(HuggingFace(path=str(folder), **files.SETTINGS))
        except SourceError as error:
            assert str(error).endswith(".")
