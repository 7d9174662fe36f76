"""A bank of every step and every kind of memory stays done, and answers what it answered the code that made it."""

import json
import shutil
from pathlib import Path

import pytest
from every_step import MIXTURES, SEARCHES, edit, mixed, searched

import mnemic
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

BANKS = Path(__file__).parent.parent / "fixtures" / "banks"
ANSWERS = json.loads((BANKS / "every-step.json").read_text())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the bank, its corpus, its models and ``recipe.yaml``, to stand in and to write to."""
    shutil.unpack_archive(BANKS / "every-step.tar.gz", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bank(place):
    return mnemic.open_bank("bank")


def test_it_holds_what_it_held(bank):
    assert bank.digest() == ANSWERS["digest"]
    assert bank.release.counts == ANSWERS["counts"]


def test_it_is_of_every_step_that_there_was(bank):
    assert {name for name, _, _ in ANSWERS["plan"]} == set(bank.release.lineage)
    assert {row["name"] for row in bank.table("memories", ["name"]).to_pylist()} | {"knn"} == {
        name for weights in MIXTURES for name in weights
    }


def test_a_plan_says_that_nothing_is_to_do_and_a_build_does_nothing(place):
    plan = mnemic.plan("recipe.yaml", device="cpu")
    assert [[step.step, step.kind, step.total] for step in plan.steps] == ANSWERS["plan"]
    assert plan.nothing_to_do
    before = mnemic.open_bank("bank")
    result = mnemic.build("recipe.yaml", device="cpu", engine="inline")
    after = mnemic.open_bank("bank")
    assert result.steps == () and after.release == before.release and len(after.releases()) == 1


def test_its_records_are_those_that_its_recipe_asks_for(bank):
    asked = {step.name: step.record.fingerprint for step in steps_of(load_recipe("recipe.yaml"), "cpu")}
    recorded = {name: record["fingerprint"] for name, record in bank.release.lineage.items()}
    assert {name: recorded[name] for name in recorded if name != "release"} == asked


def test_a_search_gives_the_events_and_the_scores_that_it_gave(bank):
    for search, results, expected in zip(SEARCHES, searched(bank), ANSWERS["searches"], strict=True):
        assert [hit[0] for hit in results] == [hit[0] for hit in expected], search
        for hit, recorded in zip(results, expected, strict=True):
            assert [value is None for value in hit] == [value is None for value in recorded], search
            assert [value or 0.0 for value in hit[1:]] == pytest.approx([value or 0.0 for value in recorded[1:]], 1e-5)


def test_a_model_predicts_with_its_memories_as_it_did(bank):
    for weights, row, expected in zip(({}, *MIXTURES), mixed(bank), ANSWERS["mixtures"], strict=True):
        assert row == pytest.approx(expected, abs=1e-5), weights
    assert len({row[0] for row in ANSWERS["mixtures"]}) == len(MIXTURES) + 1, "each mixture predicts something else"


def test_an_edited_document_costs_the_rows_that_it_did(place):
    edit()
    result = mnemic.build("recipe.yaml", device="cpu", engine="inline")
    assert [[step.step, step.rows] for step in result.steps] == ANSWERS["edited"]
    assert mnemic.plan("recipe.yaml", device="cpu").nothing_to_do
