"""Old releases end and their files go, the others stay as they are, whatever interrupts it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from many_releases import kill_points

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError, BankInUse, QueryError
from mnemic.release import Release
from mnemic.verify import verify
from pipelines.upkeep.prune import staying


def size(bank):
    files = [path for path in Path(bank).rglob("*") if path.is_file() and "leases.lance" not in path.parts]
    return sum(path.stat().st_size for path in files)


def check(bank, names):
    """The bank has these releases, each with its digest, every file of them, and no other."""
    assert [release.name for release in mnemic.open_bank(bank.bank).releases()] == names
    for name in names:
        assert mnemic.open_bank(bank.bank, name).digest() == bank.digests[name]
    verification = verify(Store(bank.bank), deep=True)
    assert verification.whole, verification.findings
    assert not verification.orphans
    store = Store(bank.bank)
    for name in mnemic.open_bank(bank.bank).release.versions:
        assert set(store[name].require().tags()) <= set(names)


def test_the_newest_stay_with_their_rows_and_the_others_go(bank):
    before = size(bank.bank)
    plan = mnemic.prune(bank.bank, keep=2, keep_monthly=0, dry_run=True)
    assert size(bank.bank) == before and plan.ended == tuple(bank.names[:2])
    outcome = mnemic.prune(bank.bank, keep=2, keep_monthly=0)
    assert outcome == plan
    check(bank, bank.names[2:])
    freed = before - size(bank.bank)
    assert freed > 0.8 * plan.freed > 0, "what it frees is told before"
    with pytest.raises(BankError, match="has no release"):
        mnemic.open_bank(bank.bank, bank.names[1])
    assert not mnemic.build(bank.recipe, device="cpu").steps, "nothing is to do"
    (bank.corpus / "alpha" / "new.txt").write_text("A document that comes after all that was pruned. " * 9)
    assert mnemic.build(bank.recipe, device="cpu").release.name not in bank.names
    again = mnemic.prune(bank.bank, keep=3, keep_monthly=0)
    assert not again.ended


def test_a_dataset_costs_what_its_releases_need(bank):
    """Every file of the datasets that releases pin is one that a release or the head needs."""
    mnemic.prune(bank.bank, keep=1, keep_monthly=0)
    check(bank, bank.names[-1:])
    store = Store(bank.bank)
    for name in mnemic.open_bank(bank.bank).release.versions:
        files = {file for fragment in store[name].require().fragments for file in fragment.files}
        there = {path.name for path in Path(bank.bank, f"{name}.lance", "data").glob("*")}
        assert there <= files, name


def test_a_reader_that_has_it_open_gets_a_sentence(bank):
    reader = mnemic.open_bank(bank.bank, bank.names[0])
    opened = reader.dataset("units")
    lazy = mnemic.open_bank(bank.bank, bank.names[0])
    mnemic.prune(bank.bank, keep=1, keep_monthly=0)
    try:
        rows = opened.table(["text", "embedding"])
        assert len(rows) == opened.count()
    except BankError as error:
        assert "has ended since it was opened" in str(error)
    with pytest.raises(BankError, match=r"has no version .* has ended"):
        lazy.table("units")


FAR = datetime(2026, 1, 31, tzinfo=UTC)


def a_release(name, month, day=1, year=2026):
    return Release(name, datetime(year, month, day, tzinfo=UTC), "", {}, {}, {}, {})


def test_the_last_of_each_month_stays():
    every = [a_release(f"{month}.{day}", month, day) for month in range(1, 7) for day in (1, 15, 28)]
    assert staying(every, 2, 0) == {"6.15", "6.28"}
    assert staying(every, 1, 3) == {"6.28", "5.28", "4.28"}
    assert staying(every, 1, 50) == {f"{month}.28" for month in range(1, 7)}
    ahead = [*every, a_release("late", 1, year=2030), a_release("next", 7)]
    assert "next" in staying(ahead, 1, 1), "a clock that was ahead ends no newest release"


@pytest.mark.parametrize(("point", "passing"), kill_points((1, 12), (2, 6, 20, 24)))
def test_a_kill_costs_another_run(nursery, bank, point, passing):
    assert (
        nursery.command("prune", bank.bank, "--keep", "2", "--keep-monthly", "0", fault=f"prune:{point}:{passing}")
        == -9
    )
    for name in bank.names[2:]:
        assert mnemic.open_bank(bank.bank, name).digest() == bank.digests[name], "what stays is never touched"
    mnemic.prune(bank.bank, keep=2, keep_monthly=0)
    check(bank, bank.names[2:])


def test_an_interrupted_build_goes_on(bank):
    (bank.corpus / "alpha" / "begun.txt").write_text("A document that was begun before the prune. " * 20)
    whole = {**bank.recipe, "bank": str(bank.corpus.parent / "whole")}
    mnemic.build(bank.recipe, device="cpu", until="embed")
    mnemic.prune(bank.bank, keep=1, keep_monthly=0)
    mnemic.build(bank.recipe, device="cpu", recluster=True)
    mnemic.build(whole, device="cpu")
    digests = [mnemic.open_bank(place).digest() for place in (bank.bank, whole["bank"])]
    assert [digests[0][name] for name in ("documents", "units")] == [
        digests[1][name] for name in ("documents", "units")
    ]


def test_the_command_tells_before_and_after(bank, capsys):
    assert main(["prune", bank.bank, "--keep", "2", "--keep-monthly", "0", "--dry-run"]) == 0
    assert "2 releases would end" in capsys.readouterr().out
    assert main(["prune", bank.bank, "--keep", "2", "--keep-monthly", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ended"] == bank.names[:2]
    assert main(["prune", bank.bank, "--keep", "0"]) == QueryError.exit_code


def test_not_while_a_build_runs(bank):
    with Lease(Store(bank.bank)["leases"], "a build"), pytest.raises(BankInUse):
        mnemic.prune(bank.bank)


def test_a_bank_that_lacks_a_pinned_version_is_left_alone(bank):
    release = mnemic.open_bank(bank.bank, bank.names[-2]).release
    folder = Path(bank.bank, "units.lance", "_versions")
    (folder / f"{2**64 - 1 - release.versions['units']:020d}.manifest").unlink()
    before = size(bank.bank)
    with pytest.raises(BankError, match="nothing is dropped"):
        mnemic.prune(bank.bank, keep=2, keep_monthly=0)
    assert size(bank.bank) > 0.99 * before
