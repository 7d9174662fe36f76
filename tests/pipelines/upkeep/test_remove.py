"""Documents go with all that was made of them, do not come back, and the bank is as if they had never been there."""

import io
import json
import os
from types import SimpleNamespace

import pyarrow as pa
import pytest
from many_releases import kill_points, text_of

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError, BankInUse, BuildUnfinished, QueryError
from mnemic.removals import NAME
from mnemic.verify import verify
from pipelines.command.remove import _ids
from pipelines.upkeep.chosen import COLUMNS
from pipelines.upkeep.intents import unfinished
from pipelines.upkeep.learners import LearntFrom
from pipelines.upkeep.removal import _note

GONE = ("alpha/copy.txt", "beta/changing.txt", "gamma/near.rst")
"""A document that two others fell to, one of a kind, and one that another fell to."""

WHERE = f"locator IN {GONE}"


def documents(bank):
    return {row["locator"]: row for row in mnemic.open_bank(bank).table("documents").to_pylist()}


def as_if_never_read(bank, folder):
    """The bank of the same recipe over the corpus without these files."""
    other = bank.copy(folder)
    for name in GONE:
        (other.corpus / name).unlink()
    fresh = {**other.recipe, "bank": str(folder / "fresh")}
    mnemic.build(fresh, device="cpu")
    return mnemic.open_bank(fresh["bank"])


def check_equal(bank, other):
    """The digests are equal but for the note of the reader that it left the documents out."""
    mine, theirs = bank.digest(), other.digest()
    names = {*mine, *theirs} - {"bank", "rejects"}
    assert {name for name in names if mine.get(name) != theirs.get(name)} == set()
    notes = bank.table("rejects", ["locator", "reason", "severity"]).to_pylist()
    own = [row for row in notes if "was removed from this bank" in row["reason"]]
    assert sorted(row["locator"] for row in own) == sorted(GONE) and {row["severity"] for row in own} == {"note"}
    assert len(notes) - len(own) == other.table("rejects").num_rows


def test_all_that_was_made_of_them_goes_and_a_build_makes_the_rest_as_if_they_had_never_been_there(bank, tmp_path):
    before = documents(bank.bank)
    ids = [before[name]["id"] for name in GONE]
    fallen = [name for name, row in before.items() if row["duplicate_of"] in ids]
    assert len(fallen) == 4, "two copies, a near copy, and the report of another number"
    plan = mnemic.remove(bank.bank, WHERE, dry_run=True)
    assert documents(bank.bank) == before and (plan.documents, plan.again, plan.release) == (3, 4, "")
    counts = mnemic.open_bank(bank.bank).release.counts
    outcome = mnemic.remove(bank.bank, WHERE)
    assert outcome.datasets == plan.datasets and {"documents", "units", "events"} <= set(outcome.datasets)
    newest = mnemic.open_bank(bank.bank)
    assert newest.release.name == outcome.release
    for name, rows in outcome.datasets.items():
        if name != "pairs":  # of which the documents that are judged anew have other rows
            assert newest.release.counts[name] == counts[name] - rows == newest.dataset(name).count(), name
    for name in sorted({*newest.release.versions} - {"removals"}):
        for column in {"document", "id", "other", "duplicate_of"} & {*newest.dataset(name).schema.names}:
            assert not {*newest.table(name, [column])[column].to_pylist()} & {*ids}, (name, column)
    after = documents(bank.bank)
    assert {after[name]["duplicate_of"] == "" for name in fallen} == {False, True}, "one of the copies is kept now"
    assert all(after[name]["duplicate_of"] in {"", *(row["id"] for row in after.values())} for name in fallen)
    nodes = newest.table("clusters").to_pylist()
    leaves = newest.dataset("events").count("leaf")
    assert next(node["size"] for node in nodes if not node["path"]) == leaves, "sizes lose exactly these rows"
    left = set(newest.table("events", ["id"])["id"].to_pylist())
    assert left.issuperset(one for node in nodes for one in node["examples"])
    assert not newest.search("report of the station", k=50, where={"document": ids})
    assert verify(Store(bank.bank), deep=True).whole
    mnemic.build(bank.recipe, device="cpu", recluster=True, rebalance=True)  # it grew over four builds
    check_equal(mnemic.open_bank(bank.bank), as_if_never_read(bank, tmp_path / "other"))
    assert not mnemic.build(bank.recipe, device="cpu").steps, "and nothing is to do again"


def test_earlier_releases_have_them_still_and_going_back_undoes_it(bank):
    last = bank.names[-1]
    outcome = mnemic.remove(
        bank.bank, source=mnemic.open_bank(bank.bank).table("documents")["source"][0].as_py(), where=WHERE
    )
    for name, digest in bank.digests.items():
        assert mnemic.open_bank(bank.bank, name).digest() == digest
    assert outcome.documents == 3
    mnemic.rollback(bank.bank, last)
    assert mnemic.open_bank(bank.bank).digest() == bank.digests[last]
    assert not mnemic.build(bank.recipe, device="cpu").steps, "the note that kept them out is gone with it"


def test_they_stay_out_until_they_are_let_in_again(bank, capsys):
    before = documents(bank.bank)
    removal = mnemic.remove(bank.bank, WHERE).removal
    (bank.corpus / "alpha" / "new.txt").write_text(text_of(70))
    os.utime(bank.corpus / GONE[1])  # its item is another one, its text is not
    mnemic.build(bank.recipe, device="cpu")
    assert not set(GONE) & set(documents(bank.bank)) and "alpha/new.txt" in documents(bank.bank)
    (bank.corpus / GONE[2]).write_text(text_of(71))
    mnemic.build(bank.recipe, device="cpu", anew=["read"])
    assert GONE[2] in documents(bank.bank), "an edited text is another document"
    with pytest.raises(QueryError, match="has no removal"):
        mnemic.readmit(bank.bank, "20200101T000000-000000")
    assert mnemic.readmit(bank.bank, before[GONE[0]]["id"]) == 1
    mnemic.build(bank.recipe, device="cpu")
    assert documents(bank.bank)[GONE[0]]["id"] == before[GONE[0]]["id"] and GONE[1] not in documents(bank.bank)
    assert main(["remove", bank.bank, "--again", removal]) == 0
    assert "2 documents are let in again" in capsys.readouterr().out
    mnemic.build(bank.recipe, device="cpu", rebalance=True)
    assert GONE[1] in documents(bank.bank)
    assert mnemic.open_bank(bank.bank).dataset("removals").count() == 0


def test_a_document_of_many_in_a_file_goes_alone_and_comes_back_alone(bank):
    lines = [json.dumps({"text": text_of(number)}) for number in range(80, 86)]
    (bank.corpus / "many.jsonl").write_text("\n".join(lines))
    mnemic.build(bank.recipe, device="cpu")
    digest = mnemic.open_bank(bank.bank).digest()
    places = [name for name in documents(bank.bank) if name.startswith("many.jsonl")]
    mnemic.remove(bank.bank, f"locator = '{places[2]}'")
    assert [step.step for step in mnemic.build(bank.recipe, device="cpu").steps] == []
    assert set(places) - set(documents(bank.bank)) == {places[2]}
    mnemic.readmit(bank.bank, "all")
    assert mnemic.plan(bank.recipe, device="cpu").steps[0].kind == "pending"
    mnemic.build(bank.recipe, device="cpu")
    after = mnemic.open_bank(bank.bank).digest()
    assert {name for name in digest if after[name] != digest[name]} <= {"bank", "clusters"}, "which counts what came"


@pytest.fixture(scope="module")
def removed(months, tmp_path_factory):
    """Digests of the bank after a removal that nothing disturbed, and after the build that follows."""
    whole = months.copy(tmp_path_factory.mktemp("removed"))
    mnemic.remove(whole.bank, WHERE)
    digest = mnemic.open_bank(whole.bank).digest()
    mnemic.build(whole.recipe, device="cpu")
    return digest, mnemic.open_bank(whole.bank).digest()


@pytest.mark.parametrize(("point", "passing"), kill_points((4,), (1, 2, 3, 6, 9, 12, 16)))
def test_a_kill_is_finished_by_whoever_writes_next(nursery, bank, removed, point, passing):
    assert nursery.command("remove", bank.bank, "--where", WHERE, fault=f"remove:{point}:{passing}") == -9
    assert mnemic.open_bank(bank.bank).digest() in (bank.digests[bank.names[-1]], removed[0]), (
        "readers see all of it or none"
    )
    mnemic.compact(bank.bank)
    assert unfinished(Store(bank.bank)) is None
    mnemic.remove(bank.bank, WHERE)
    assert mnemic.open_bank(bank.bank).digest() == removed[0]
    assert verify(Store(bank.bank), deep=True).whole
    mnemic.build(bank.recipe, device="cpu")
    assert mnemic.open_bank(bank.bank).digest() == removed[1]


def test_ids_copies_and_conditions_say_which(bank, tmp_path, capsys):
    before = documents(bank.bank)
    names = tmp_path / "ids.txt"
    names.write_text("\n".join(before[name]["id"][:12] for name in GONE))
    assert main(["remove", bank.bank, "--ids", str(names), "--where", "locator LIKE 'alpha/%'", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "1 documents of" in printed and "2 duplicates of them are judged anew" in printed and "--copies" in printed
    copies = mnemic.remove(bank.bank, ids=[before[GONE[0]]["id"]], copies=True, dry_run=True)
    assert (copies.documents, copies.copies) == (2, 0), "one copy has the very same text, the other is in capitals"
    assert mnemic.remove(bank.bank, "locator = 'no/such.txt'").release == ""
    assert mnemic.remove(bank.bank, ids=[]).release == ""
    assert len(mnemic.open_bank(bank.bank).releases()) == len(bank.names), "nothing was to do"
    wrong_ids, wrong_conditions = (["0123456789abcdef"], ["no id"], ["ab"]), (None, "length >= 0", "1; drop", "no = 1")
    for wrong in (*({"ids": ids} for ids in wrong_ids), *({"where": where} for where in wrong_conditions)):
        with pytest.raises(QueryError):
            mnemic.remove(bank.bank, **wrong)
    assert main(["remove", bank.bank, "--again", "all", "--erase"]) == QueryError.exit_code


@pytest.mark.parametrize("place", ["ids.txt", "link.txt", "-"])
def test_ids_come_from_a_file_a_link_or_standard_input_and_none_is_cut_off(place, tmp_path, monkeypatch):
    names = [f"{number:032x}" for number in range(3)]
    content = "\n".join(names)
    (tmp_path / "ids.txt").write_text(content)
    (tmp_path / "link.txt").symlink_to("ids.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert _ids(place) == names
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    monkeypatch.setattr("pipelines.command.remove.MOST_BYTES", len(content) - 1)
    with pytest.raises(QueryError, match="into several files"):
        _ids(place)


@pytest.mark.parametrize("order", [1, -1])
def test_tokens_of_the_store_are_noted_in_whatever_order_memories_stand(tmp_path, order):
    memories = [
        LearntFrom("trained", "trained", {"a": 5}, 0.5),
        LearntFrom("quality", "quality", {"a": 0, "b": 0}, 1.0),
    ]
    columns = {name: [f"{name} of a", f"{name} of b"] for name in COLUMNS if name != "id"}
    context = SimpleNamespace(store=Store(tmp_path), run="one", commit=lambda action: action())
    _note(context, pa.table({"id": ["a", "b"], **columns}), False, memories[::order])
    rows = context.store[NAME].require().table(["document", "rows", "memories"]).to_pylist()
    assert rows == [
        {"document": "a", "rows": 5, "memories": ["quality", "trained"]},
        {"document": "b", "rows": 0, "memories": ["quality"]},
    ]


def test_a_removed_document_tells_when_it_was_removed(bank, capsys):
    row = documents(bank.bank)[GONE[1]]
    mnemic.remove(bank.bank, WHERE)
    assert main(["why", bank.bank, row["id"][:12]]) == 0
    printed = capsys.readouterr().out
    assert "removed at" in printed and "it is not read again" in printed and GONE[1] not in printed
    assert main(["show", bank.bank]) == 0
    assert "3 documents removed" in capsys.readouterr().out


def test_a_build_that_has_not_ended_comes_first(bank):
    (bank.corpus / "alpha" / "begun.txt").write_text(text_of(50))
    mnemic.build(bank.recipe, device="cpu", until="embed")
    with pytest.raises(BuildUnfinished, match="has begun and not ended"):
        mnemic.remove(bank.bank, WHERE)


def test_not_while_a_build_runs(bank):
    with Lease(Store(bank.bank)["leases"], "a build"), pytest.raises(BankInUse):
        mnemic.remove(bank.bank, WHERE)
    with pytest.raises(BankError):
        mnemic.remove(bank.bank + "-not-there", WHERE)
