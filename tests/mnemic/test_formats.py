"""Banks of every format that there has been stay readable."""

import shutil
from pathlib import Path

import pytest

import mnemic
from mnemic.schema import FORMAT_VERSION

BANKS = Path(__file__).parent.parent / "fixtures" / "banks"
DIGESTS = {1: "7b84b0393f971f1a23721a87139102d9"}
"""Format -> digest of its bank, as it was when the bank was made."""


def test_there_is_a_bank_of_every_format():
    assert set(DIGESTS) == set(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("version", DIGESTS)
def test_an_old_bank_is_read(version, tmp_path):
    shutil.unpack_archive(BANKS / f"format-{version}.tar.gz", tmp_path)
    bank = mnemic.open_bank(tmp_path / "bank")
    assert bank.digest()["bank"] == DIGESTS[version]
    assert bank.release.counts["documents"] == bank.table("documents", ["id"]).num_rows > 10
    events = bank.table("events", ["id", "text", "vector"])
    assert bank.find(events["id"][0].as_py())[0] == "event"
    memory, row = bank.memory()
    assert row["lock"]["weights"] and sum(parameter.numel() for parameter in memory.parameters()) > 0
