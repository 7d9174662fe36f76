"""What was erased is in no file of the bank, decoded, whatever version or none it is of; a search before finds it all.

The search here is its own: all strings of all rows of all files, cut into windows.
"""

import json
from pathlib import Path

import pytest
from lance.file import LanceFileReader
from many_releases import kill_points, text_of

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.verify import verify
from pipelines.upkeep.sought import Sought

GONE = ("alpha/copy.txt", "beta/changing.txt", "gamma/008.txt")
"""A document that two others fell to, one that every release has another text of, and one that went with a file."""

WHERE = f"locator IN {GONE}"


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def windows(text, width=24):
    return {text[start : start + width] for start in range(len(text) - width + 1)}


def pieces_in(bank):
    """The windows of all strings in all files, and those of messages of Lance."""
    texts = set()
    for path in Path(bank).rglob("*"):
        if path.suffix == ".lance" and path.is_file():
            for batch in LanceFileReader(str(path)).read_all(batch_size=1000).to_batches():
                for column in batch.columns:
                    if any(kind in str(column.type) for kind in ("string", "binary")):  # others are numbers alone
                        texts.update(strings(column.to_pylist()))
        elif path.suffix in (".manifest", ".txn"):
            texts.add(path.read_bytes().decode("utf-8", "replace"))
    return set().union(*map(windows, texts))


def erased_texts(bank):
    """The windows of all texts that any release has at these places, that no other document has."""
    mine, others = set(), set()
    for release in mnemic.open_bank(bank).releases():
        rows = mnemic.open_bank(bank, release.name).table("documents", ["locator", "text"]).to_pylist()
        for row in rows:
            (mine if row["locator"] in GONE else others).update(windows(row["text"]))
    return mine - others


def test_nothing_of_it_is_left_anywhere(bank):
    mnemic.build({**bank.recipe, "cluster": {**bank.recipe["cluster"], "min_leaf": 9}}, device="cpu")
    bank.note()
    mine = erased_texts(bank.bank)
    assert len(mine) > 500 and mine <= pieces_in(bank.bank), "the same search finds all of them before"
    reader = mnemic.open_bank(bank.bank, bank.names[-2])
    opened = reader.dataset("units")
    plan = mnemic.remove(bank.bank, WHERE, erase=True, dry_run=True)
    assert plan.documents == 5, "the one that changed has three texts in the releases"
    assert set(plan.ended) == set(bank.names), "each has one of them"
    outcome = mnemic.remove(bank.bank, WHERE, erase=True)
    assert outcome.proof.before == outcome.proof.pieces > 500 and outcome.proof.after == 0
    assert outcome.proof.pieces == len(mine)
    assert not mine & pieces_in(bank.bank)
    assert [release.name for release in mnemic.open_bank(bank.bank).releases()] == [outcome.release]
    verification = verify(Store(bank.bank), deep=True)
    assert verification.whole and not verification.orphans, verification.findings
    with pytest.raises(BankError, match=r"has ended|is there no more"):
        opened.table(["text"])
    with pytest.raises(BankError, match="has no release"):
        mnemic.open_bank(bank.bank, bank.names[-1])
    again = mnemic.build(bank.recipe, device="cpu")
    assert "alpha/copy.txt" not in json.dumps(mnemic.open_bank(bank.bank).table("rejects").to_pylist(), default=str)
    assert again.release.name != outcome.release and not mine & pieces_in(bank.bank), "nor does a build bring it back"


def test_releases_that_never_had_it_stay(bank):
    (bank.corpus / "alpha" / "secret.txt").write_text(text_of(60) + " The key is under the third stone of the wall.")
    mnemic.build(bank.recipe, device="cpu")
    secret = mnemic.remove(bank.bank, "locator = 'alpha/secret.txt'", erase=True)
    assert len(secret.ended) == 1 and secret.proof.after == 0 and secret.proof.shared > 0, "its other sentences stay"
    assert [one.name for one in mnemic.open_bank(bank.bank).releases()] == [*bank.names, secret.release]
    for name, digest in bank.digests.items():
        assert mnemic.open_bank(bank.bank, name).digest() == digest


def test_what_was_removed_can_be_erased_later(bank):
    removal = mnemic.remove(bank.bank, WHERE)
    mine = erased_texts(bank.bank)
    assert mine & pieces_in(bank.bank)
    outcome = mnemic.remove(bank.bank, WHERE, erase=True)
    assert removal.release in outcome.ended, "its files hold the deleted rows"
    assert not mine & pieces_in(bank.bank)


@pytest.fixture(scope="module")
def erased(months, tmp_path_factory):
    """The digest of the bank after an erasure that nothing disturbed."""
    whole = months.copy(tmp_path_factory.mktemp("erased"))
    mnemic.remove(whole.bank, WHERE, erase=True)
    return mnemic.open_bank(whole.bank).digest()


@pytest.mark.parametrize(("point", "passing"), kill_points((7,), (1, 3, 12, 20, 30, 40)))
def test_a_kill_is_finished_by_whoever_writes_next(nursery, bank, erased, point, passing):
    mine = erased_texts(bank.bank)
    assert nursery.command("remove", bank.bank, "--where", WHERE, "--erase", fault=f"remove:{point}:{passing}") == -9
    mnemic.compact(bank.bank)
    mnemic.remove(bank.bank, WHERE, erase=True)  # where the kill came before anything was begun
    assert not mine & pieces_in(bank.bank)
    assert mnemic.open_bank(bank.bank).digest() == erased
    assert verify(Store(bank.bank), deep=True).whole


def test_the_command_prints_the_proof(bank, capsys):
    assert main(["remove", bank.bank, "--where", WHERE, "--erase"]) == 0
    printed = capsys.readouterr().out
    assert "and 0 stand in its" in printed and "releases that ended" in printed


def test_a_column_that_still_has_a_piece_is_told(bank):
    store = Store(bank.bank)
    documents = mnemic.open_bank(bank.bank).table("documents").to_pylist()
    changing = next(row for row in documents if row["locator"] == "beta/changing.txt")
    sought = Sought.of(store, [changing["id"]])
    search = sought.search(store)
    assert search.traces.texts.all() and {place.partition(".")[0] for place in search.places} >= {"documents", "units"}
