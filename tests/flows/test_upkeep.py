"""The chores of a bank as tasks; `test_flow` runs their flow."""

import os
from pathlib import Path

import pytest
import yaml

import mnemic
from flows.upkeep import Chores, keep_up
from mnemic.errors import BankError

SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "prefect.yaml"


@pytest.fixture
def bank(months, tmp_path):
    return months.copy(tmp_path)


def chores(bank, **changes):
    return Chores(**{"bank": bank.bank, "keep": 1, "keep_monthly": 0, "deep": True, **changes})


def test_every_chore_says_what_it_did(bank, monkeypatch):
    monkeypatch.setattr("mnemic.funnel.DUE", 2)
    mine = chores(bank)
    outcomes = {name: work() for name, work in mine.all()}
    assert outcomes["verify"].startswith("whole") and "hashed" in outcomes["verify"]
    assert "release" in outcomes["compact"] and "4 releases ended, 1 stay" in outcomes["prune"]
    assert "of the events added" in outcomes["drift"] and outcomes["due"]
    opened = mnemic.open_bank(bank.bank)
    assert opened.digest() == bank.digests[bank.names[-1]] and len(opened.releases()) == 1
    assert chores(bank).compacted() == "not due"


def test_a_bank_whose_build_has_not_ended_is_pruned_and_not_compacted(bank, monkeypatch):
    monkeypatch.setattr("mnemic.funnel.DUE", 2)
    (bank.corpus / "alpha" / "begun.txt").write_text("A document that no release has. " * 20)
    mnemic.build(bank.recipe, device="cpu", until="embed")
    assert "left for the next time" in chores(bank).compacted()
    assert "3 releases ended" in chores(bank).pruned()


def test_a_damaged_bank_is_told(bank):
    (file, *_) = mnemic.open_bank(bank.bank).dataset("units").fragments[0].files
    os.unlink(Path(bank.bank, "units.lance", "data", file))
    with pytest.raises(BankError, match="is damaged, and nothing else was done"):
        chores(bank).verified()


def test_it_is_deployed_beside_the_build():
    deployments = yaml.safe_load(SHIPPED.read_text())["deployments"]
    entrypoints = ["flows.build.build_bank", "flows.upkeep.keep_up", "flows.inbox.consolidate"]
    assert [one["entrypoint"] for one in deployments] == entrypoints
    assert deployments[0]["parameters"]["bank"] == deployments[1]["parameters"]["bank"]
    assert set(deployments[1]["parameters"]) <= set(keep_up.parameters.properties)
