"""Archives: what is in them is read as if it lay beside them, and what is no honest file in them is refused."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
import zipfile

import pytest
import record_files as files

from pipelines.sources import archives
from pipelines.sources.archives import Archives
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.zstd_frames import is_whole

LIMIT = 1_000_000
INSIDE = {"csv": {"text_field": "body"}}


def read(path, **settings):
    source = Archives(path=str(path), **settings)
    return [result for item in source.manifest() for result in source.read(item, LIMIT)]


def texts(results):
    return {one.locator: one.text for one in results if isinstance(one, Document)}


def rejects(results):
    return {one.locator: one.reason for one in results if isinstance(one, Reject)}


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def tar(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


@pytest.fixture
def members(tmp_path):
    table = files.write_csv(tmp_path / "rows.csv").read_bytes()
    return {
        "notes/a.txt": b"The first note.",
        "b.md": b"# The second",
        "rows.csv": table,
        "pic.png": b"\x89PNG\r\n\x1a\n",
    }


@pytest.mark.parametrize("ending", [".zip", ".tar", *(f".tar{one}" for one in PACK)])
def test_every_member_goes_to_the_reader_of_its_kind(ending, members, tmp_path):
    data = zipped(members) if ending == ".zip" else tar(members)
    packed = PACK[ending.removeprefix(".tar")](data) if ending.removeprefix(".tar") in PACK else data
    (tmp_path / f"all{ending}").write_bytes(packed)
    results = read(tmp_path / f"all{ending}", inside=INSIDE)
    read_texts = texts(results)
    assert read_texts[f"all{ending}!notes/a.txt"] == "The first note."
    assert [text for place, text in read_texts.items() if "rows.csv#" in place] == [row["body"] for row in files.ROWS]
    assert len(read_texts) == 2 + len(files.ROWS)
    assert list(rejects(results)) == [f"all{ending}!pic.png"]
    assert "a PNG image" in rejects(results)[f"all{ending}!pic.png"]


@pytest.mark.parametrize("ending", PACK)
def test_a_compressed_file_is_the_file(ending, tmp_path):
    plain = files.write_lines(tmp_path / "rows.jsonl")
    (tmp_path / f"rows.jsonl{ending}").write_bytes(PACK[ending](plain.read_bytes()))
    results = read(tmp_path / f"rows.jsonl{ending}", inside={"folder": {"text_field": "body"}})
    assert [one.text for one in results] == [row["body"] for row in files.ROWS]
    assert results[0].locator == f"rows.jsonl{ending}!rows.jsonl#1"


@pytest.mark.parametrize("name", ["rows.jsonl", "notes.txt", "rows.jsonl.bz2"])
@pytest.mark.parametrize("size", [0, 1, 100])
def test_bzip2_is_known_by_more_than_three_letters(name, size):
    assert archives.recognise(name, bz2.compress(b"a" * size))
    assert archives.recognise(name, b"BZhivago, said the doctor") == name.endswith(".bz2")


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_of_a_file_that_is_cut_off_the_beginning_is_read(ending, tmp_path):
    lines = "".join(f'{{"text": "line {n} {os.urandom(20).hex()}"}}\n' for n in range(20_000)).encode()
    packed = PACK[ending](lines)
    (tmp_path / f"rows.jsonl{ending}").write_bytes(packed[: len(packed) * 3 // 4])
    results = read(tmp_path / f"rows.jsonl{ending}")
    read_lines = [one for one in results if isinstance(one, Document)]
    assert len(read_lines) > (1 if ending == ".zst" else 8_000)
    assert "copy or pack it again" in results[-1].reason


@pytest.mark.parametrize("size", [0, 1, 100, 300_000])
@pytest.mark.parametrize("checked", [False, True])
def test_a_zstd_file_is_whole_or_cut(size, checked):
    zstandard = pytest.importorskip("zstandard")
    data = os.urandom(size // 2) + bytes(size - size // 2)
    packed = zstandard.ZstdCompressor(write_checksum=checked).compress(data)
    skippable = b"\x50\x2a\x4d\x18\3\0\0\0abc"
    for whole in (packed, packed + packed, skippable + packed + skippable):
        assert is_whole(io.BytesIO(whole), len(whole))
        assert not is_whole(io.BytesIO(whole[:-1]), len(whole) - 1)


def test_names_that_lead_out_and_links_are_refused(tmp_path):
    data = zipped(
        {"../up.txt": b"up", "/etc/abs.txt": b"abs", "a/../../b.txt": b"b", "C:/x.txt": b"x", "ok.txt": b"fine"}
    )
    (tmp_path / "names.zip").write_bytes(data)
    results = read(tmp_path / "names.zip")
    assert texts(results) == {"names.zip!ok.txt": "fine"}
    assert len(rejects(results)) == 4
    assert all("leads out of the archive" in reason for reason in rejects(results).values())
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            entry = tarfile.TarInfo(f"link{kind!r}.txt")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    results = read(tmp_path / "links.tar")
    assert not texts(results)
    assert len(rejects(results)) == 4
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "It is a link" in rejects(read(tmp_path / "link.zip"))["link.zip!link.txt"]


def test_a_bomb_ends_where_it_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE", 1 << 20)
    bomb = zipped({"first.txt": b"first", **{f"{n}.txt": b"x" * (1 << 20) for n in range(40)}})
    (tmp_path / "bomb.zip").write_bytes(bomb)
    results = read(tmp_path / "bomb.zip")
    assert texts(results)["bomb.zip!first.txt"] == "first"
    assert "More than 100 times its size" in rejects(results)["bomb.zip"]
    assert sum(len(text) for text in texts(results).values()) <= archives.RATIO * len(bomb) + (1 << 20)


def test_archives_are_opened_two_deep(tmp_path):
    deepest = zipped({"c.txt": b"third"})
    inner = zipped({"b.txt": b"second", "deepest.zip": deepest})
    (tmp_path / "outer.zip").write_bytes(zipped({"a.txt": b"first", "inner.zip": inner}))
    results = read(tmp_path / "outer.zip")
    assert sorted(texts(results).values()) == ["first", "second"]
    assert "3 deep" in rejects(results)["outer.zip!inner.zip!deepest.zip"]


def test_a_zip_that_speaks_of_too_many_members_is_not_opened(tmp_path):
    data = bytearray(zipped({"a.txt": b"a"}))
    place = data.rfind(b"PK\5\6")
    data[place + 8 : place + 12] = b"\xff\xff\xff\xff"
    wide = b"PK\6\6" + bytes(28) + (10**9).to_bytes(8, "little") + bytes(16) + b"PK\6\7" + bytes(16)
    (tmp_path / "many.zip").write_bytes(bytes(data[:place]) + wide + bytes(data[place:]))
    assert "1,000,000,000 members" in rejects(read(tmp_path / "many.zip"))["many.zip"]


def test_hidden_members_are_left_out_and_encrypted_ones_told(tmp_path):
    data = bytearray(zipped({".hidden.txt": b"h", "__MACOSX/a.txt": b"m", "a.txt": b"seen"}))
    (tmp_path / "a.zip").write_bytes(data)
    assert list(texts(read(tmp_path / "a.zip"))) == ["a.zip!a.txt"]
    place = data.rfind(b"PK\1\2")
    data[place + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    assert "encrypted" in rejects(read(tmp_path / "a.zip"))["a.zip!a.txt"]


def test_a_large_member_is_refused_by_its_size(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a.txt": b"x" * 5000, "b.txt": b"fine"}))
    results = read(tmp_path / "a.zip", max_file_bytes=1000)
    assert texts(results) == {"a.zip!b.txt": "fine"}
    assert "`max_file_bytes` (1,000)" in rejects(results)["a.zip!a.txt"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_of_any_method_is_unpacked_piece_by_piece(method):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("a.txt", "the first")
        with archive.open("b.txt", "w") as member:
            for _ in range(130):
                member.write(bytes(1_000_000))
    packed.seek(0)
    tracemalloc.start()
    results = list(Archives(path="x").documents(packed, "a.zip", 10_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts(results) == {"a.zip!a.txt": "the first"} and "More than 100 times" in rejects(results)["a.zip"]
    assert peak < 100_000_000


def test_a_zip_whose_directory_holds_more_than_its_end_says_is_not_opened(monkeypatch):
    data = bytearray(zipped({f"{n}.txt": b"x" for n in range(5)}))
    place = data.rfind(b"PK\5\6")
    data[place + 8 : place + 12] = b"\1\0\1\0"
    monkeypatch.setattr(archives, "MOST", 4)
    assert "5 members" in rejects(list(Archives(path="x").documents(io.BytesIO(data), "a.zip", 100)))["a.zip"]


def _header(name, kind, size=0):
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def test_a_tar_of_many_folders_takes_no_memory():
    data = io.BytesIO(_header("d/", tarfile.DIRTYPE) * 20_000 + bytes(1024))
    tracemalloc.start()
    assert list(Archives(path="x").documents(data, "a.tar", 100)) == []
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_what_a_tar_states_beyond_its_bytes_is_refused():
    long = _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 1 << 30) + b"a" * 10_000
    assert (
        "a header of 1,073,741,824"
        in rejects(list(Archives(path="x").documents(io.BytesIO(long), "a.tar", 9)))["a.tar"]
    )
    sparse = bytearray(_header("s.txt", tarfile.GNUTYPE_SPARSE))
    sparse[386:410] = b"%011o\0%011o\0" % (10**9, 0)
    sparse[483:495] = b"%011o\0" % 10**9
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    results = list(Archives(path="x").documents(io.BytesIO(bytes(sparse) + bytes(1024)), "a.tar", 9))
    assert "More than 100 times" in rejects(results)["a.tar"]
