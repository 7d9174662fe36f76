"""A copy has the digests of its bank, is verified byte by byte, and can be built on."""

import json
import os
import shutil
from pathlib import Path

import pytest

import mnemic
from mnemic.command import main
from mnemic.copies import copying
from mnemic.dataset import Store
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError
from mnemic.verify import verify


def files(bank):
    return {str(path.relative_to(bank)): path for path in Path(bank).rglob("*") if path.is_file()}


def check(copy, bank, names):
    assert [release.name for release in mnemic.open_bank(copy).releases()] == names
    for name in names:
        assert mnemic.open_bank(copy, name).digest() == bank.digests[name]
    verification = verify(Store(str(copy)), deep=True)
    assert verification.whole and verification.hashed > 50 and not verification.orphans
    assert not [name for name in files(copy) if "mnemic-copy" in name]


@pytest.mark.slow
def test_all_releases_are_copied_while_a_build_runs(months, bank, tmp_path):
    with Lease(Store(bank.bank)["leases"], "a build"):
        outcome = mnemic.copy(bank.bank, tmp_path / "copy")
    check(tmp_path / "copy", months, months.names)
    assert outcome.releases == tuple(months.names) and outcome.there == 0
    built = {**bank.recipe, "bank": str(tmp_path / "copy")}
    assert not mnemic.build(built, device="cpu").steps, "nothing is to do for a copy"
    (bank.corpus / "alpha" / "new.txt").write_text("A document that only the copy gets to read. " * 9)
    mnemic.build(built, device="cpu")
    mnemic.build(bank.recipe, device="cpu")
    assert mnemic.diff(bank.bank, str(tmp_path / "copy")).equal


@pytest.mark.parametrize("place", [0, 1, -1])
def test_one_release_is_copied(months, tmp_path, place):
    name = months.names[place]
    mnemic.copy(months.bank, tmp_path / "copy", release=name)
    check(tmp_path / "copy", months, [name])
    if place != -1:
        assert len(files(tmp_path / "copy")) < len(files(months.bank)) / 2


def test_what_a_build_has_begun_is_not_copied(bank, months, tmp_path):
    (bank.corpus / "alpha" / "begun.txt").write_text("A document that no release has. " * 20)
    mnemic.build(bank.recipe, device="cpu", until="embed")
    mnemic.copy(bank.bank, tmp_path / "copy")
    check(tmp_path / "copy", months, months.names)
    copied = Store(str(tmp_path / "copy"))["documents"].require()
    assert copied.version == mnemic.open_bank(months.bank).release.versions["documents"]


@pytest.mark.parametrize("after", [1, 20, 100])
def test_a_copy_that_was_broken_off_goes_on(months, tmp_path, monkeypatch, after):
    def broken(done, total):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mnemic.copy(months.bank, tmp_path / "copy", progress=broken)
    with pytest.raises(BankError):
        mnemic.open_bank(tmp_path / "copy")
    largest = max(files(tmp_path / "copy").values(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    outcome = mnemic.copy(months.bank, tmp_path / "copy")
    assert outcome.there == after - 1, "a file whose bytes are not right is copied again"
    check(tmp_path / "copy", months, months.names)


def test_changed_and_missing_files_are_named(bank, tmp_path):
    release = mnemic.open_bank(bank.bank).release
    (file, *_) = Store(bank.bank)["units"].require(release.versions["units"]).fragments[0].files
    place = Path(bank.bank, "units.lance", "data", file)
    data = bytearray(place.read_bytes())
    data[100] ^= 1
    place.write_bytes(data)
    with pytest.raises(BankError, match=f"units.lance/data/{file} .* holds other bytes"):
        mnemic.copy(bank.bank, tmp_path / "copy")
    with pytest.raises(BankError):
        mnemic.open_bank(tmp_path / "copy")
    place.unlink()
    with pytest.raises(BankError, match=f"data/{file} of .* is missing"):
        mnemic.copy(bank.bank, tmp_path / "other")


def test_no_bank_and_no_other_folder_is_written_over(months, bank, tmp_path):
    with pytest.raises(BankError, match="holds a bank"):
        mnemic.copy(months.bank, bank.bank)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("Dear")
    with pytest.raises(BankError, match=r"letter\.txt"):
        mnemic.copy(months.bank, tmp_path / "home")
    with pytest.raises(BankError, match="is not a bank"):
        mnemic.copy(tmp_path / "home", tmp_path / "copy")
    assert os.listdir(tmp_path / "home") == ["letter.txt"]


def test_a_bank_without_hashes_is_copied_by_its_sizes(bank, months, tmp_path):
    shutil.rmtree(Path(bank.bank, "checksums.lance"))
    mnemic.copy(bank.bank, tmp_path / "copy")
    for name, digest in months.digests.items():
        assert mnemic.open_bank(tmp_path / "copy", name).digest() == digest


def test_the_command(months, tmp_path, capsys):
    assert main(["copy", months.bank, str(tmp_path / "copy"), "--dry-run"]) == 0
    assert "nothing was copied" in capsys.readouterr().out and not (tmp_path / "copy").exists()
    assert main(["copy", months.bank, str(tmp_path / "copy"), "--release", months.names[1], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["releases"] == [months.names[1]]
    assert copying.APART.startswith("."), "what is under way is hidden from every reader"
