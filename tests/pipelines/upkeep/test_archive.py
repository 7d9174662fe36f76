"""A release goes into one file and back, and no hostile archive leaves anything behind."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

import mnemic
from mnemic.command import main
from mnemic.copies import unpacking
from mnemic.copies.archive import END, LISTING, header, padding
from mnemic.dataset import Store
from mnemic.errors import BankError, NoSpace
from mnemic.verify import verify


@pytest.fixture(scope="module")
def archive(months, tmp_path_factory):
    file = tmp_path_factory.mktemp("packed") / "notes.tar"
    mnemic.pack(months.bank, file)
    return file


def members(archive):
    """[(name, bytes)], as another reader of tar files sees them."""
    with tarfile.open(archive, "r:") as tar:
        return [(one.name, tar.extractfile(one).read()) for one in tar.getmembers()]


def written(file, parts, end=END):
    """An archive of these parts: (name, bytes), or a finished block."""
    with open(file, "wb") as out:
        for part in parts:
            if isinstance(part, bytes):
                out.write(part)
            else:
                out.write(header(part[0], len(part[1])) + part[1] + padding(len(part[1])))
        out.write(end)
    return file


def listed(parts, **changes):
    """The parts with another listing: of what they hold now, and with ``changes``."""
    facts = json.loads(parts[0][1])
    facts |= changes
    return [(LISTING, json.dumps(facts).encode()), *parts[1:]]


def test_a_release_comes_back_as_it_was(months, bank, archive, tmp_path):
    outcome = mnemic.unpack(archive, tmp_path / "unpacked")
    last = months.names[-1]
    opened = mnemic.open_bank(tmp_path / "unpacked")
    assert opened.release.name == last and opened.digest() == months.digests[last]
    assert opened.release.recipe == mnemic.open_bank(months.bank).release.recipe and outcome.releases == (last,)
    assert verify(opened.store, deep=True).whole and mnemic.diff(months.bank, opened).equal
    assert not mnemic.build({**bank.recipe, "bank": str(tmp_path / "unpacked")}, device="cpu").steps
    assert sorted(os.listdir(tmp_path)) == ["bank", "corpus", "unpacked"], "nothing is left beside it"


def test_equal_releases_have_equal_archives_which_are_plain_tar(months, archive, tmp_path):
    mnemic.copy(months.bank, tmp_path / "copy", release=months.names[-1])
    mnemic.pack(tmp_path / "copy", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    names = [name for name, _ in members(archive)]
    assert names[0] == LISTING and "documents.lance" in {name.split("/")[0] for name in names}


def test_an_older_release_is_packed_too(months, tmp_path):
    mnemic.pack(months.bank, tmp_path / "old.tar", release=months.names[1])
    mnemic.unpack(tmp_path / "old.tar", tmp_path / "old")
    assert mnemic.open_bank(tmp_path / "old").digest() == months.digests[months.names[1]]


def hostile(parts, folder):
    """(name, archive) of archives that are refused."""
    (name, data), *rest = parts[1:]
    facts = json.loads(parts[0][1])
    files = facts["files"]
    yield "empty", written(folder / "empty", [], b"")
    yield "no listing", written(folder / "no", parts[1:])
    yield "cut short", written(folder / "cut", parts[:-3])
    yield "no end", written(folder / "end", parts, b"")
    yield "appended", written(folder / "appended", [*parts, ("documents.lance/data/more.lance", b"x")])
    yield "other bytes", written(folder / "bytes", [parts[0], (name, b"\0" * len(data)), *rest])
    yield "swapped", written(folder / "swapped", [parts[0], rest[0], (name, data), *rest[1:]])
    for number, path in enumerate(
        ("../evil.lance/data/x", "/etc/passwd", "documents.lance/../../x", "documents.lance/data/.hidden",
         "documents.lance/data/a/b", "documents.lance/_refs/tags/x.json", "leases.lance/data/x", "x\0y", "")
    ):  # fmt: skip
        changed = listed([parts[0], (name, data), *rest], files=[[path, len(data), files[0][2]], *files[1:]])
        yield f"path {path!r}", written(folder / f"path{number}", changed)
    for number, size in enumerate((-1, 1 << 60, len(data) + 1, True, "7", None)):
        changed = listed(parts, files=[[files[0][0], size, files[0][2]], *files[1:]])
        yield f"size {size!r}", written(folder / f"size{number}", changed)
    yield "listed twice", written(folder / "twice", listed([*parts, parts[1]], files=[*files, files[0]]))
    for number, change in enumerate(
        ({"format": 99}, {"format": "1"}, {"files": 5}, {"files": [5]}, {"release": {}}, {"release": None}, {"runs": 7},
         {"release": {**facts["release"], "release": "../x"}}, {"release": {**facts["release"], "created": 5}},
         {"release": {**facts["release"], "versions": "{}"}}, {"release": {**facts["release"], "versions": "["}},
         {"release": {**facts["release"], "run": ["x"]}}, {"runs": [{}]})
    ):  # fmt: skip
        yield f"listing {list(change)} {number}", written(folder / f"listing{number}", listed(parts, **change))
    for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE,
                                   tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME)):  # fmt: skip
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, "/etc/passwd", len(data)
        block = info.tobuf(tarfile.USTAR_FORMAT)[:512]
        yield f"kind {kind!r}", written(folder / f"kind{number}", [parts[0], block, data + padding(len(data)), *rest])
    yield "a long listing", written(folder / "long", [header(LISTING, 1 << 40)])
    deep = b"[" * 100_000 + b"]" * 100_000
    yield "a deep listing", written(folder / "deep", [(LISTING, deep), *parts[1:]])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo(LISTING))
    (folder / "gz").write_bytes(packed.getvalue())
    yield "compressed", folder / "gz"


def test_hostile_archives_are_refused_and_leave_nothing(archive, tmp_path):
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    cases = list(hostile(members(archive), tmp_path / "in"))
    assert len(cases) > 40
    for name, file in cases:
        with pytest.raises(BankError) as caught:
            mnemic.unpack(file, out / "bank")
        assert "Traceback" not in str(caught.value), name
        assert os.listdir(out) == [], name
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_flipped_bits_anywhere_are_noticed(archive, tmp_path):
    data = archive.read_bytes()
    for place in range(3, len(data) - len(END), len(data) // 40):
        broken = bytearray(data)
        broken[place] ^= 16
        (tmp_path / "broken.tar").write_bytes(broken)
        try:
            mnemic.unpack(tmp_path / "broken.tar", tmp_path / "bank")
        except BankError:
            assert not (tmp_path / "bank").exists()
        else:  # the bit stands in a block of tar's that says who packed it, or in the listing's texts
            assert verify(Store(str(tmp_path / "bank")), deep=True).whole
            shutil.rmtree(tmp_path / "bank")


def test_a_disk_that_is_too_small_is_told_first(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(NoSpace):
        mnemic.unpack(archive, tmp_path / "bank")
    assert os.listdir(tmp_path) == []


def test_nothing_is_replaced(months, archive, tmp_path):
    with pytest.raises(BankError, match="is there"):
        mnemic.pack(months.bank, archive)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    for place, words in ((tmp_path / "full", "not empty"), (months.bank, "holds a bank"), ("s3://a/b", "no folder")):
        with pytest.raises(BankError, match=words):
            mnemic.unpack(archive, place)
    with pytest.raises(BankError, match="is no file"):
        mnemic.unpack(tmp_path / "none", tmp_path / "bank")


def test_a_killed_unpacking_begins_anew(archive, tmp_path):
    def broken(done, total):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mnemic.unpack(archive, tmp_path / "bank", progress=broken)
    (tmp_path / ".bank.unpacking").mkdir()
    Path(tmp_path, ".bank.unpacking", "left").write_text("by a kill")
    mnemic.unpack(archive, tmp_path / "bank")
    assert os.listdir(tmp_path) == ["bank"] and not (tmp_path / "bank" / "left").exists()


def test_the_commands(months, tmp_path, capsys):
    file = str(tmp_path / "notes.tar")
    assert main(["pack", months.bank, file, "--dry-run"]) == 0 and not os.path.exists(file)
    assert main(["pack", months.bank, file]) == 0
    assert main(["unpack", file, str(tmp_path / "bank"), "--dry-run"]) == 0 and not (tmp_path / "bank").exists()
    capsys.readouterr()
    assert main(["unpack", file, str(tmp_path / "bank"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["releases"] == [months.names[-1]]
    assert main(["pack", months.bank, file]) == BankError.exit_code
