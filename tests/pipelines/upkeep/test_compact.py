"""Compaction changes no content, and no later build can tell that it happened."""

import json

import numpy as np
import pyarrow as pa
import pytest
from many_releases import kill_points, text_of
from tiny_bank import WORDS

import mnemic
from mnemic.catalogue import CATALOGUE, DatasetSpec, declared, spec_of
from mnemic.command import main
from mnemic.dataset import Store, compaction
from mnemic.dataset.index import search_text
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError, BankInUse
from mnemic.verify import verify
from pipelines.upkeep.intents import unfinished


def answers(bank):
    """The rows of single words, and the best hit for the vector and text of some events."""
    opened = mnemic.open_bank(bank)
    events = opened.dataset("events")
    rows = {word: set(search_text(events, "text", "id", word, 500, None)["id"].to_pylist()) for word in WORDS}
    best = []
    for row in opened.table("events", ["id", "text", "vector"], "leaf").sort_by("id").slice(0, 5).to_pylist():
        hits = opened.search(row["text"], vector=np.array(row["vector"], np.float32))
        best.append(max(hits, key=lambda hit: hit.score).id)
    return rows, best


def fragments(bank):
    store = Store(bank)
    names = mnemic.open_bank(bank).release.versions
    return {name: len(store[name].require().fragments) for name in names}


def test_the_content_the_answers_and_the_old_releases_stay(bank):
    before, answers_before = fragments(bank.bank), answers(bank.bank)
    plan = mnemic.compact(bank.bank, dry_run=True)
    assert fragments(bank.bank) == before and {"documents", "units", "events"} <= set(plan.datasets)
    outcome = mnemic.compact(bank.bank)
    assert outcome.datasets == plan.datasets
    after = fragments(bank.bank)
    for name, (planned_before, planned_after) in plan.datasets.items():
        assert (before[name], after[name]) == (planned_before, planned_after) and planned_after < planned_before
    assert after["bands"] == before["bands"], "a fragment of it is a run"
    newest = mnemic.open_bank(bank.bank)
    assert newest.release.name == outcome.written and newest.digest() == bank.digests[bank.names[-1]]
    assert answers(bank.bank) == answers_before
    for name, digest in bank.digests.items():
        assert mnemic.open_bank(bank.bank, name).digest() == digest
    assert verify(newest.store, deep=True).whole
    assert not mnemic.build(bank.recipe, device="cpu").steps, "nothing is to do"
    assert not mnemic.compact(bank.bank).datasets, "nothing is worth it any more"


@pytest.mark.slow
def test_no_later_build_can_tell(months, tmp_path):
    """A near copy comes, the original of a duplicate goes, and one document changes: twice, beside a bank without."""
    compacted, untouched = (months.copy(tmp_path / name) for name in ("compacted", "untouched"))
    mnemic.compact(compacted.bank)
    for number in (7, 8):
        for bank in (compacted, untouched):
            corpus = bank.corpus
            (corpus / "alpha" / f"near-{number}.txt").write_text(text_of(number - 6) + f" One more sentence {number}.")
            (corpus / "alpha" / f"far-{number}.txt").write_text(text_of(number * 3))
            (corpus / "beta" / "changing.txt").write_text(text_of(200 + number))
            (corpus / "alpha" / ("000.txt" if number == 7 else "copy.txt")).unlink()
            mnemic.build(bank.recipe, device="cpu")
        digests = [mnemic.open_bank(bank.bank).digest() for bank in (compacted, untouched)]
        assert digests[0] == digests[1]
        mnemic.compact(compacted.bank)
        mnemic.prune(compacted.bank, keep=1, keep_monthly=0)
    nodes = [mnemic.open_bank(bank.bank).table("clusters", ["path", "added"]) for bank in (compacted, untouched)]
    assert nodes[0].sort_by("path").equals(nodes[1].sort_by("path"))
    assert sum(nodes[0]["added"].to_pylist()) > 0, "events that came since the tree was fitted are told apart"


@pytest.mark.parametrize(("point", "passing"), kill_points((2, 6), (1, 4, 9)))
def test_a_kill_is_finished_by_whoever_writes_next(nursery, bank, point, passing):
    assert nursery.command("compact", bank.bank, fault=f"compact:{point}:{passing}") == -9
    last = bank.digests[bank.names[-1]]
    assert mnemic.open_bank(bank.bank).digest() == last
    begun = unfinished(Store(bank.bank))
    steps = mnemic.build(bank.recipe, device="cpu").steps
    assert not steps and unfinished(Store(bank.bank)) is None, "the build finishes it, and has nothing to do"
    bank_now = mnemic.open_bank(bank.bank)
    assert bank_now.digest() == last and len(bank_now.releases()) == len(bank.names) + (begun is not None)
    mnemic.compact(bank.bank)
    assert mnemic.open_bank(bank.bank).digest() == last and not mnemic.compact(bank.bank).datasets
    assert verify(Store(bank.bank), deep=True).whole


def test_a_build_that_has_not_ended_is_left_alone(bank):
    (bank.corpus / "alpha" / "begun.txt").write_text(text_of(50))
    mnemic.build(bank.recipe, device="cpu", until="embed")
    with pytest.raises(BankError, match="has begun and not ended"):
        mnemic.compact(bank.bank)


def test_it_is_told_when_it_is_due(bank, monkeypatch, capsys):
    assert main(["show", bank.bank, "--json"]) == 0
    assert not any("Compaction" in due for due in json.loads(capsys.readouterr().out)["due"])
    monkeypatch.setattr("mnemic.funnel.DUE", 2)
    assert main(["show", bank.bank]) == 0
    assert "Compaction is due" in capsys.readouterr().out
    assert main(["compact", bank.bank, "--dry-run"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert main(["compact", bank.bank]) == 0
    assert "fewer fragments" in capsys.readouterr().out
    assert main(["show", bank.bank]) == 0
    printed = capsys.readouterr().out
    assert "Compaction is due" not in printed and "compacted" in printed


def test_not_while_a_build_runs(bank):
    with Lease(Store(bank.bank)["leases"], "a build"), pytest.raises(BankInUse):
        mnemic.compact(bank.bank)


def test_datasets_whose_fragments_stand_for_something_are_named():
    assert {name for name, spec in CATALOGUE.items() if not spec.merged} == {"bands", "filters"}
    assert compaction.FEWEST > 1


def test_a_dataset_of_a_package_says_whether_it_is_merged():
    rows = pa.schema([pa.field("document", pa.string())])
    for merged in (True, False):
        spec = DatasetSpec("facts", rows, ("document",), merged=merged)
        assert spec_of("facts", declared(rows, spec)).merged is merged
    assert "merged" not in str(declared(rows, DatasetSpec("facts", rows, ("document",))).metadata), "as it always was"
