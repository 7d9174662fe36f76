"""`mnemic verify`: what a bank's files were at its releases, and what they are now."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

import mnemic
from mnemic.command import main
from mnemic.dataset import Store, commit
from mnemic.dataset.checksums import checksums
from mnemic.errors import BankError
from mnemic.verify import verify

FORMATS = Path(__file__).parent.parent / "fixtures" / "banks"


@pytest.fixture
def bank(tiny, tmp_path):
    return Path(tiny.copy(tmp_path)["bank"])


def pinned_files(bank):
    """Files that a release has the hashes of, by path below the bank."""
    return sorted(checksums(Store(bank)))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 0x40
    path.write_bytes(data)


def paths_of(result):
    return sorted(finding.path for finding in result.findings)


def test_a_bank_is_whole_and_every_file_is_hashed(tiny):
    shallow, deep = (verify(Store(tiny.recipe["bank"]), deep) for deep in (False, True))
    assert shallow.whole and deep.whole and not deep.orphans and not deep.notes
    assert (shallow.hashed, deep.hashed) == (0, len(pinned_files(tiny.recipe["bank"])))
    release = tiny.open().release.name
    assert deep.releases == [release]
    written = checksums(Store(tiny.recipe["bank"]))
    named = [f"{name}.lance/" for name in (*tiny.open().release.versions, "releases")]
    assert {path.partition("/")[0] + "/" for path in written} == set(named)
    assert {one.release for one in written.values()} == {release}
    for path, one in written.items():
        assert Path(tiny.recipe["bank"], path).stat().st_size == one.size


def test_every_flipped_byte_is_found_by_its_hash(bank):
    draw = random.Random(5)
    chosen = sorted(draw.sample([path for path in pinned_files(bank) if "/data/" in path], 30))
    for path in chosen:
        flip(bank / path, draw.randrange(1 << 20))
    assert verify(Store(bank)).whole, "sizes say nothing of it"
    result = verify(Store(bank), deep=True)
    assert paths_of(result) == chosen
    assert "holds other bytes than at release" in str(result.findings[0])


def test_missing_and_shortened_files_are_found_by_their_size(bank):
    files = [path for path in pinned_files(bank) if "/data/" in path or "/_indices/" in path]
    chosen = sorted(random.Random(6).sample(files, 20))
    for number, path in enumerate(chosen):
        (bank / path).unlink() if number % 2 else os.truncate(bank / path, (bank / path).stat().st_size // 2)
    paths = paths_of(verify(Store(bank)))
    # an index is told by its folder too, whose bytes the manifest has
    assert set(chosen) <= set(paths) and all(path in chosen or "_indices" in path for path in paths)


def test_a_finding_says_who_needs_the_file_and_what_to_do(bank, capsys):
    release = mnemic.open_bank(bank).release.name
    path = next(path for path in pinned_files(bank) if path.startswith("units.lance/data/"))
    (bank / path).unlink()
    assert main(["verify", str(bank)]) == BankError.exit_code
    output = capsys.readouterr().out
    assert f"{path} is missing. Release {release} and the head need it. Bring it back from a copy" in output
    assert "mnemic repair" in output
    assert main(["verify", str(bank), "--json"]) == BankError.exit_code
    facts = json.loads(capsys.readouterr().out)
    assert facts["whole"] is False
    assert facts["findings"][0]["path"] == path and facts["findings"][0]["needed_by"] == [release, "the head"]


def test_what_nothing_names_is_listed_and_no_fault(bank, capsys):
    (bank / "units.lance" / "data" / "0101.lance").write_bytes(b"left by a killed worker")
    assert main(["verify", str(bank)]) == 0
    output = capsys.readouterr().out
    assert "1 files that no version names" in output and "units.lance/data/0101.lance" in output


def test_a_version_that_a_release_pins_and_its_tag_must_be_there(bank):
    version = mnemic.open_bank(bank).release.versions["pairs"]
    (bank / "pairs.lance" / "_refs" / "tags" / f"{mnemic.open_bank(bank).release.name}.json").unlink()
    (finding,) = verify(Store(bank)).findings
    assert f"does not keep version {version}" in str(finding)
    shutil.rmtree(bank / "pairs.lance")
    assert any("has a version" in str(one) and one.path == "pairs.lance" for one in verify(Store(bank)).findings)


def test_only_files_that_came_since_are_hashed_at_the_next_release(tiny, tmp_path):
    recipe, corpus = tiny.copy_with_corpus(tmp_path)
    before = checksums(Store(recipe["bank"]))
    (corpus / "zeta" / "new.txt").write_text("The lease of a reader expires. Another cluster is built.")
    mnemic.build(recipe, device="cpu")
    after = checksums(Store(recipe["bank"]))
    newest = mnemic.open_bank(recipe["bank"]).release.name
    assert before.items() <= after.items() and len(after) > len(before)
    assert {after[path].release for path in after.keys() - before.keys()} == {newest}
    assert verify(Store(recipe["bank"]), deep=True).whole
    rows = Store(recipe["bank"])["checksums"].require().table(["path"])["path"].to_pylist()
    assert len(rows) == len(set(rows))


def test_a_bank_of_before_has_no_hashes_and_its_rows_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    shutil.unpack_archive(FORMATS / "format-1.tar.gz", tmp_path)
    store = Store(tmp_path / "bank")
    result = verify(store, deep=True)
    assert result.whole and result.hashed == 0 and "without hashes" in result.notes[0]
    data = max((tmp_path / "bank" / "events.lance" / "data").iterdir(), key=lambda path: path.stat().st_size)
    data.write_bytes(b"\0" * data.stat().st_size)
    assert verify(store).whole, "its size is what it was"
    assert any("rows that cannot be read" in str(finding) for finding in verify(store, deep=True).findings)


def test_what_is_no_bank_is_told(tmp_path):
    with pytest.raises(BankError, match="is not a bank"):
        verify(Store(tmp_path))
