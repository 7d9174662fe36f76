"""A bank goes back to a release: its digest is that release's, nothing is lost, and the next build goes on from it."""

import json
import os

import pytest
from many_releases import kill_points

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError, BankInUse
from mnemic.verify import verify
from pipelines.upkeep.intents import unfinished


def heads(bank):
    store = Store(bank)
    return {name: store[name].require().version for name in mnemic.open_bank(bank).release.versions}


def test_it_is_the_old_release_again_and_nothing_is_lost(bank):
    first, last = bank.names[0], bank.names[-1]
    outcome = mnemic.rollback(bank.bank, first)
    assert (outcome.release, outcome.to) == (last, first) and outcome.datasets["documents"][0] > 0
    newest = mnemic.open_bank(bank.bank)
    assert newest.release.name == outcome.written and newest.digest() == bank.digests[first]
    assert newest.release.versions == heads(bank.bank), "the next build goes on from here"
    for name, digest in bank.digests.items():
        assert mnemic.open_bank(bank.bank, name).digest() == digest
    assert verify(newest.store, deep=True).whole
    record = newest.release.lineage["release"]
    assert (record["rolled_back_from"], record["rolled_back_to"]) == (last, first)
    back = mnemic.rollback(bank.bank, last)
    assert mnemic.open_bank(bank.bank).digest() == bank.digests[last] and back.to == last
    assert not mnemic.build(bank.recipe, device="cpu").steps, "the sources have not changed since that release"


def test_the_next_build_reads_what_the_sources_have(bank):
    mnemic.rollback(bank.bank, bank.names[1])
    mnemic.build(bank.recipe, device="cpu", recluster=True)
    once = {**bank.recipe, "bank": str(bank.corpus.parent / "once")}
    mnemic.build(once, device="cpu")
    digests = [mnemic.open_bank(place).digest() for place in (bank.bank, once["bank"])]
    same = ("documents", "units")
    assert [digests[0][name] for name in same] == [digests[1][name] for name in same]


def test_where_the_bank_is_nothing_is_written(bank):
    before = heads(bank.bank)
    assert mnemic.rollback(bank.bank, bank.names[-1]).written == ""
    assert mnemic.rollback(bank.bank, bank.names[0], dry_run=True).datasets
    assert heads(bank.bank) == before and mnemic.open_bank(bank.bank).release.name == bank.names[-1]


def test_what_a_build_had_begun_since_goes_too(bank):
    (bank.corpus / "alpha" / "begun.txt").write_text("A document that no release has. " * 20)
    mnemic.build(bank.recipe, device="cpu", until="embed")
    outcome = mnemic.rollback(bank.bank, bank.names[-1])
    assert outcome.written and outcome.datasets
    assert mnemic.open_bank(bank.bank).digest() == bank.digests[bank.names[-1]]
    assert mnemic.open_bank(bank.bank).release.versions == heads(bank.bank)


@pytest.mark.parametrize(("point", "passing"), kill_points((5,), (1, 2, 9, 13)))
@pytest.mark.parametrize("by", ["rollback", "build"])
def test_a_kill_is_finished_by_whoever_writes_next(nursery, bank, point, passing, by):
    first = bank.names[0]
    assert nursery.command("rollback", bank.bank, first, fault=f"rollback:{point}:{passing}") == -9
    begun = unfinished(Store(bank.bank))
    assert (begun is None) == ((point, passing) == ("before-commit", 1))
    if by == "build":
        mnemic.build(bank.recipe, device="cpu")
    else:
        mnemic.rollback(bank.bank, first)
    assert unfinished(Store(bank.bank)) is None
    written = [one for one in mnemic.open_bank(bank.bank).releases() if "rolled_back_to" in one.lineage["release"]]
    assert len(written) == (0 if begun is None and by == "build" else 1)
    for release in written:
        assert mnemic.open_bank(bank.bank, release.name).digest() == bank.digests[first]


def test_the_command(bank, capsys):
    assert main(["rollback", bank.bank, bank.names[0], "--dry-run"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert main(["rollback", bank.bank, bank.names[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == mnemic.open_bank(bank.bank).release.name
    assert main(["rollback", bank.bank, "nothing"]) == BankError.exit_code
    assert main(["rollback", bank.bank + "x", "nothing"]) == BankError.exit_code


def test_a_release_without_its_files_is_refused(bank):
    first = mnemic.open_bank(bank.bank, bank.names[0])
    (file,) = first.dataset("pairs").fragments[0].files
    os.unlink(f"{bank.bank}/pairs.lance/data/{file}")
    before = heads(bank.bank)
    with pytest.raises(BankError, match="lacks files of pairs"):
        mnemic.rollback(bank.bank, bank.names[0])
    assert heads(bank.bank) == before


def test_not_while_a_build_runs(bank):
    with Lease(Store(bank.bank)["leases"], "a build"), pytest.raises(BankInUse):
        mnemic.rollback(bank.bank, bank.names[0])
