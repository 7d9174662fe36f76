"""What is remembered is found at once, becomes a document of the next build, once, and is never lost or doubled."""

import itertools
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from nursery import Nursery
from tiny_bank import TinyBank

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.errors import BankError, RecipeError
from mnemic.inbox.calls import call_of
from mnemic.inbox.files import files_of_inbox, listed, name_of
from mnemic.verify import verify
from pipelines.plan import plan
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

SECTIONS = ("name", "bank", "sources", "fragment_characters", "embed", "segment", "cluster")
TALK = [{"speaker": "Ada", "text": "I mended the violin yesterday."}, {"speaker": "Bob", "text": "Then play it."}]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return TinyBank.build(tmp_path_factory.mktemp("plain"), SECTIONS)


@pytest.fixture
def recipe(plain, tmp_path):
    return plain.copy(tmp_path)


def built(recipe):
    mnemic.build(recipe, device="cpu")
    return mnemic.open_bank(recipe["bank"])


def remembered(bank):
    """(locator, text) of the documents that were remembered."""
    rows = bank.table("documents", ["locator", "text"], "source = 'inbox'").to_pylist()
    return sorted((row["locator"], row["text"]) for row in rows)


def places(bank, question, **settings):
    """Whether each hit of the inbox waits, by its text."""
    return [(hit.text, hit.pending) for hit in bank.search(question, **settings) if hit.source == "inbox"]


def waiting(recipe):
    return listed(files_of_inbox(Store(recipe["bank"])))


def test_a_row_waits_until_the_readers_release_holds_its_document(recipe):
    before = mnemic.open_bank(recipe["bank"])
    pinned = mnemic.open_bank(recipe["bank"], before.release.name)
    (note,) = before.remember("Zebras graze beside the observatory.", tenant="zoo", time="2026-03-02T09:30:00Z")
    turns = before.remember(TALK, tenant="team", time="2026-03-04")
    assert len(turns) == 2 and len({note, *turns}) == 3
    assert places(before, "zebras observatory", k=1) == [("Zebras graze beside the observatory.", True)]
    assert places(before, "who mended the violin?", k=1) == [("Ada: I mended the violin yesterday.", True)]
    assert not places(pinned, "zebras observatory", k=50) and not pinned.inbox()
    assert plan(recipe).steps[0].todo == 2

    after = built(recipe)
    assert len(remembered(after)) == 2 and not after.inbox()
    assert places(after, "zebras observatory", k=1) == [("Zebras graze beside the observatory.", False)]
    (hit,) = after.search("who mended the violin?", k=1)
    assert (hit.pending, hit.turns, hit.speakers, hit.tenant) == (False, turns[:1], ["Ada"], "team")
    assert places(before, "zebras observatory", k=1) == [("Zebras graze beside the observatory.", True)], "as it was"
    assert [call.rows[0].text for call in before.inbox()] == ["Zebras graze beside the observatory.", TALK[0]["text"]]
    assert not waiting(recipe).calls and plan(recipe).steps[0].kind == "done"
    assert not mnemic.build(recipe, device="cpu").steps, "a second build has nothing to do"


def test_threads_remember_while_builds_run(recipe):
    """Readers of their own see each row once, whoever is at it; `test_inbox_processes` kills them all."""
    errors, rows, stop = list[BaseException](), dict[str, str](), threading.Event()

    def remember(name):
        try:
            for number in itertools.count():
                if stop.is_set():
                    return
                text = f"Codeword {name}x{number} belongs to {name}."
                (rows[text],) = mnemic.open_bank(recipe["bank"]).remember(text, tenant=name, key=str(number))
                hits = mnemic.open_bank(recipe["bank"]).inbox(name)
                assert sum(row.text == text for call in hits for row in call.rows) <= 1
                time.sleep(0.02)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=remember, args=(name,)) for name in ("ada", "bob", "cleo")]
    for thread in threads:
        thread.start()
    mnemic.build(recipe, device="cpu", until="read")
    mnemic.build(recipe, device="cpu")
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors and len(rows) > 6
    bank = mnemic.open_bank(recipe["bank"])
    waits = [row.text for call in bank.inbox() for row in call.rows]
    assert sorted([*waits, *(text for _, text in remembered(bank))]) == sorted(rows), "each row once, here or there"


def test_of_two_calls_of_a_key_that_killed_writers_left_one_is_taken_in(recipe):
    files = files_of_inbox(Store(recipe["bank"]))
    for what in ("Zebras graze.", TALK):
        call = call_of(what, "zoo", None, None, "key")
        files.write(name_of(call), call.as_bytes())
    mnemic.build(recipe, device="cpu", until="read")
    store = Store(recipe["bank"])
    rows = store["inbox"].require().table(["id", "digest"])
    assert len(set(rows["id"].to_pylist())) == len(rows) and len(set(rows["digest"].to_pylist())) == 1
    assert store["documents"].require().count("source = 'inbox'") == 1


@pytest.mark.slow
def test_a_row_is_seen_once_while_a_build_is_at_it(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    bank.remember("Zebras graze beside the observatory.")
    for step in ("read", "units", "cluster"):
        mnemic.build(recipe, device="cpu", until=step)
        for reader in (bank, mnemic.open_bank(recipe["bank"])):
            assert places(reader, "zebras observatory") == [("Zebras graze beside the observatory.", True)], step
    bank.remember("Penguins arrived later.")
    after = built(recipe)
    assert len(remembered(after)) == 2 and not after.inbox()


@pytest.mark.slow
def test_killed_anywhere_a_build_takes_every_row_in_once(recipe, tmp_path):
    whole, notes = recipe["bank"], [f"Zebra number {number} grazes beside the observatory." for number in range(5)]

    def tell(place):
        """Whoever does not know whether it was remembered says it again."""
        bank = mnemic.open_bank(place)
        return [bank.remember(note, key=note, time="2026-03-02") for note in notes]

    tell(whole)
    undisturbed = {**recipe, "bank": str(shutil.copytree(whole, tmp_path / "undisturbed"))}
    digest = built(undisturbed).digest()
    faults = [f"read:{point}:{passing}" for point in ("before-commit", "after-commit") for passing in (1, 2)]
    faults += ["read:before-write:1", "read:after-write:1", "release:before-commit:1", "release:after-commit:1"]
    with Nursery() as nursery:
        for fault in faults:
            killed = {**recipe, "bank": str(shutil.copytree(whole, tmp_path / fault.replace(":", "-")))}
            assert nursery.build(killed, fault=fault)[0] == -9, fault
            tell(killed["bank"])
            assert len(places(mnemic.open_bank(killed["bank"]), "zebra", words=None, k=50)) == 5, fault
            assert nursery.build(killed)[0] == 0
            after = mnemic.open_bank(killed["bank"])
            assert after.digest() == digest, fault
            assert not after.inbox() and not waiting(killed).calls, fault


@pytest.mark.slow
def test_going_back_lets_rows_wait_again(recipe):
    first = mnemic.open_bank(recipe["bank"]).release.name
    bank = mnemic.open_bank(recipe["bank"])
    bank.remember("Zebras graze beside the observatory.")
    ids = bank.remember(TALK)
    after = built(recipe)
    documents = remembered(after)
    mnemic.rollback(recipe["bank"], first)
    back = mnemic.open_bank(recipe["bank"])
    assert not remembered(back) and len(back.inbox()) == 2
    assert places(back, "zebras observatory", k=1) == [("Zebras graze beside the observatory.", True)]
    assert back.forget(ids[1]) == 1
    expected = {**dict(documents), ids[0][:24]: "Ada: I mended the violin yesterday."}
    assert dict(remembered(built(recipe))) == expected
    assert verify(Store(recipe["bank"]), deep=True).whole


def test_forgotten_rows_are_never_found_and_never_taken_in(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    (note,) = bank.remember("Zebras graze beside the observatory.", key="zebra", tenant="zoo")
    turns = bank.remember(TALK)
    with pytest.raises(BankError, match="waits"):
        bank.forget(note, tenant="another")
    assert bank.forget(note, tenant="zoo") == 1 and bank.forget([turns[1]]) == 1
    assert not places(bank, "zebras observatory") and len(places(bank, "violin play")) == 1
    assert not any(note.startswith(file.call) for file in waiting(recipe).calls), "the file of the text is gone"
    with pytest.raises(BankError, match="No row"):
        bank.forget(note)
    after = built(recipe)
    assert remembered(after) == [(turns[0][:24], "Ada: I mended the violin yesterday.")]
    with pytest.raises(BankError, match="mnemic remove"):
        after.forget(turns[0])


@pytest.mark.slow
def test_a_row_that_is_forgotten_while_a_build_is_at_it_goes_with_the_next(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    (note,) = bank.remember("Zebras graze beside the observatory.")
    turns = bank.remember(TALK)
    mnemic.build(recipe, device="cpu", until="units")
    assert bank.forget([note, turns[0]]) == 2
    assert places(bank, "zebras violin play") == [("Bob: Then play it.", True)]
    after = built(recipe)
    assert remembered(after) == [(turns[0][:24], "Bob: Then play it.")]
    assert not places(after, "zebras observatory")
    assert plan(recipe).steps[0].kind == "done"
    built(recipe)
    assert not waiting(recipe).forgotten


@pytest.mark.parametrize("erase", [pytest.param(False, marks=pytest.mark.slow), True], ids=["removed", "erased"])
def test_a_removed_document_does_not_come_back(recipe, erase):
    bank = mnemic.open_bank(recipe["bank"])
    (note,) = bank.remember("Zebras graze beside the quarrelsome observatory.")
    bank.remember(TALK)
    after = built(recipe)
    (document,) = after.table("documents", ["id"], f"locator = '{note[:24]}'")["id"].to_pylist()
    outcome = mnemic.remove(recipe["bank"], ids=[document], erase=erase)
    assert outcome.documents == 1
    if erase:
        assert outcome.proof.before > 0 == outcome.proof.after
        rows = Store(recipe["bank"])["inbox"].require().table(["id"])["id"].to_pylist()
        assert note not in rows and len(rows) == 2
    for reader in (mnemic.open_bank(recipe["bank"]), built(recipe)):
        assert not places(reader, "zebras observatory") or places(reader, "zebras observatory")[0][0].startswith("Ada")
        assert [text for _, text in remembered(reader)] == ["Ada: I mended the violin yesterday.\nBob: Then play it."]
        assert not reader.inbox()


@pytest.mark.slow
def test_upkeep_copies_and_archives_lose_nothing(recipe, tmp_path):
    bank = mnemic.open_bank(recipe["bank"])
    bank.remember("Zebras graze beside the observatory.")
    bank = built(recipe)
    documents = remembered(bank)
    (waits,) = bank.remember("Penguins arrived later.")
    bank.forget(bank.remember("Nobody shall know this.")[0])
    mnemic.compact(recipe["bank"])
    mnemic.prune(recipe["bank"], keep=1, keep_monthly=0)
    assert verify(Store(recipe["bank"]), deep=True).whole
    mnemic.copy(recipe["bank"], tmp_path / "copy")
    mnemic.pack(recipe["bank"], tmp_path / "packed.tar")
    mnemic.unpack(tmp_path / "packed.tar", tmp_path / "unpacked")
    for place in (recipe["bank"], tmp_path / "copy"):
        reader = mnemic.open_bank(place)
        assert [row.id for call in reader.inbox() for row in call.rows] == [waits]
        after = built({**recipe, "bank": str(place)})
        assert len(remembered(after)) == 2 and {*documents} < {*remembered(after)}
    unpacked = {**recipe, "bank": str(tmp_path / "unpacked")}
    assert not mnemic.build(unpacked, device="cpu").steps, "its rows came along: nothing vanished"
    assert remembered(mnemic.open_bank(unpacked["bank"])) == documents


@pytest.mark.slow
def test_what_a_disk_has_lost_stays_a_document(recipe):
    """A repair may let the dataset go back to a version without the rows of a document that stands."""
    bank = mnemic.open_bank(recipe["bank"])
    bank.remember("Penguins arrived first.")
    built(recipe)
    bank.remember("Zebras graze beside the observatory.")
    documents = remembered(built(recipe))
    store = Store(recipe["bank"])
    newest = max(Path(recipe["bank"], "inbox.lance", "data").iterdir(), key=os.path.getmtime)
    newest.unlink()
    assert main(["repair", recipe["bank"]]) == 0
    assert store["inbox"].require().count() == 1
    assert remembered(built(recipe)) == documents


@pytest.mark.slow
def test_reading_anew_keeps_what_was_remembered(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    bank.remember("Zebras graze beside the observatory.")
    documents = remembered(built(recipe))
    mnemic.build(recipe, device="cpu", anew=["read"])
    assert remembered(mnemic.open_bank(recipe["bank"])) == documents


def test_a_source_of_that_name_is_refused_where_something_was_remembered(recipe):
    mnemic.open_bank(recipe["bank"]).remember("Zebras graze.")
    (source,) = recipe["sources"]
    named = {**recipe, "sources": [{**source, "name": "inbox"}]}
    with pytest.raises(RecipeError, match="another `name`"):
        mnemic.build(named, device="cpu")
    for step in steps_of(load_recipe({**named, "bank": recipe["bank"] + "-fresh"}), "cpu")[:1]:
        assert step.state(Store(recipe["bank"] + "-fresh")).kind == "new", "without anything remembered it is a name"


@pytest.mark.slow
def test_damaged_files_are_told_and_passed_over(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    bank.remember("Zebras graze beside the observatory.")
    bank.remember("Penguins arrived later.")
    first, second = sorted(Path(recipe["bank"], "inbox").iterdir())
    first.write_bytes(first.read_bytes().replace(b"a", b"e"))
    with pytest.warns(UserWarning, match="does not hold what was remembered"):
        assert len(mnemic.open_bank(recipe["bank"]).inbox()) == 1
    (finding,) = verify(Store(recipe["bank"])).findings
    assert finding.path == f"inbox/{first.name}"
    assert len(remembered(built(recipe))) == 1
    assert first.exists() and not second.exists()
