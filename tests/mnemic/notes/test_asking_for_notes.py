"""The notes of a bank: asked by subject and time, found by words, and shown by the command."""

import json
from datetime import date, datetime, timedelta, timezone

import pytest
from scripted_server import ScriptedServer
from written_bank import homes, written_recipe

import mnemic
from mnemic.command import main
from mnemic.errors import QueryError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A bank of somebody who moves twice."""
    with ScriptedServer(homes) as server:
        recipe = written_recipe(tmp_path_factory.mktemp("read"), server.address)
        mnemic.build(recipe, device="cpu", engine="inline")
    return recipe["bank"]


@pytest.fixture(scope="module")
def bank(place):
    return mnemic.open_bank(place)


def test_words_find_the_notes_that_hold_of_one_tenant_within_a_budget(bank):
    (note,) = bank.find_notes("Where did Ada move to?", tenant="one")
    assert (note.value, note.tenant) == ("Oslo", "one")
    assert {one.tenant for one in bank.find_notes("moved")} == {"one", "two"}
    (then,) = bank.find_notes("moved", tenant="one", as_of=date(2023, 6, 1))
    assert then.value == "Paris", "what held then, though a later one ended it"
    assert bank.find_notes("moved", words=3) == []
    assert bank.find_notes("zebra") == [] == bank.find_notes("moved", tenant="nobody")


@pytest.mark.parametrize("time", [datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "yesterday", 5])
def test_a_moment_that_is_none_is_a_sentence(bank, time):
    with pytest.raises(QueryError, match="as_of"):
        bank.notes(as_of=time)


def test_a_note_that_only_repeats_a_shown_text_is_left_out(bank):
    assert bank.find_notes("moved", tenant="one", skip=["ada moved to oslo last month."]) == []
    assert len(bank.find_notes("moved", tenant="one", skip=["Somebody moved to Oslo."])) == 1


def test_a_question_without_words_and_a_bank_without_notes_are_told(bank, tiny):
    with pytest.raises(QueryError, match="query is empty"):
        bank.find_notes(" ")
    with pytest.raises(QueryError, match="at least 1"):
        bank.find_notes("moved", words=0)
    for ask in (tiny.open().notes, lambda: tiny.open().find_notes("moved")):
        with pytest.raises(QueryError, match="has no notes"):
            ask()


def test_a_hostile_subject_is_a_text(bank):
    assert bank.notes("x' OR 'a' = 'a") == []
    assert bank.notes("Ada", tenant="one' --") == []


def test_the_command_shows_notes_with_their_times_and_sources(place, capsys):
    assert main(["notes", place, "--subject", "ada", "--tenant", "one", "--closed"]) == 0
    shown = capsys.readouterr().out
    assert "2023-05-07 until 2023-08-01" in shown and "Ada . home = Paris" in shown
    assert "3 notes, written by a language model" in shown
    assert main(["notes", place, "--as-of", "2023-09-01", "--tenant", "one", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [note["value"] for note in facts["notes"]] == ["Rome"] and facts["total"] == 1
    assert main(["notes", place, "--as-of", "soon"]) == 2


def test_the_command_shows_what_was_paid(place, capsys):
    assert main(["notes", place, "--calls", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["calls"] == 3 and facts["answers"] == {"good": 6, "bad": 0, "cut": 0}
    assert main(["notes", place, "--calls"]) == 0
    assert "3 calls paid" in capsys.readouterr().out
