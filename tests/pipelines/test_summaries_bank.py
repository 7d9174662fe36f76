"""Summaries of packs: asked for beside facts, checked as they are, and paid once."""

import pytest
from scripted_server import ScriptedServer
from test_written_bank import LONG, build, paid
from written_bank import written_recipe

import mnemic
from mnemic.dataset import Store
from mnemic.errors import RecipeError


def test_each_pack_has_a_summary_with_its_sources_beside_its_notes(tmp_path):
    with ScriptedServer() as server:
        recipe = written_recipe(tmp_path, server.address, LONG, tenants=("one",))
        build(recipe)
        facts, notes = sum(server.paid.values()), mnemic.open_bank(recipe["bank"]).table("notes")
        recipe["written"]["summaries"] = True
        assert [step.kind for step in mnemic.plan(recipe, device="cpu").steps if step.step == "calls"] == ["pending"]
        build(recipe)
        assert sum(server.paid.values()) == 2 * facts == paid(recipe).calls, "facts were not asked for again"
        assert mnemic.plan(recipe, device="cpu").nothing_to_do
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.table("notes").equals(notes)
    rows = bank.table("summaries").to_pylist()
    packs = {row["pack"]: row for row in bank.table("packs").to_pylist()}
    assert {row["pack"] for row in rows} == packs.keys()
    for row in rows:
        units = packs[row["pack"]]["units"]
        assert (row["start"], row["end"]) == (units[0]["start"], units[-1]["end"])
        assert row["sources"] == [{name: units[0][name] for name in ("event", "start", "end")}]
        assert row["text"] == units[0]["text"].removeprefix("Ada: ") and row["prompt"] == "summary/1"


def test_an_invented_summary_is_a_reject_and_a_bad_answer_another(tmp_path):
    story = {"2023-01-01T09:00:00Z": ["Room 10 of the house is red."], "2023-02-01T09:00:00Z": ["It is blue now."]}
    answers = {
        "Room": {"text": "Bob bought Room 10 for 900 dollars.", "n": [0]},
        "It": {"text": "It is blue.", "n": []},
    }
    with ScriptedServer() as server:
        server.summary = lambda prompt: answers[prompt["units"][0]["text"].split()[0]]
        recipe = written_recipe(tmp_path, server.address, story, tenants=("one",))
        recipe["written"]["summaries"] = True
        build({**recipe, "summaries": {"max_rejected": 1.0}})
    assert mnemic.open_bank(recipe["bank"]).table("summaries").num_rows == 0
    rejects = Store(recipe["bank"])["rejects"].require().table(["step", "reason"]).to_pylist()
    reasons = {row["step"]: row["reason"] for row in rejects}
    assert reasons["summaries"].startswith("A summary is left out: ")
    assert "no usable summary" in reasons["calls"]


def test_summaries_that_nobody_asks_for_are_refused(tmp_path):
    recipe = written_recipe(tmp_path, "http://127.0.0.1:9/v1", LONG, summaries={})
    with pytest.raises(RecipeError, match="summaries: true"):
        mnemic.plan(recipe)
