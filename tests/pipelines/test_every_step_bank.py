"""A bank of every step and every kind of memory answers what it answered the code that made it, and is carried on."""

import json
import shutil
from pathlib import Path

import pytest
from every_step import MIXTURES, SEARCHES, edit, mixed, searched

import mnemic
from mnemic.encoder import TextEncoder
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


REDONE = {
    "units": ("units is now version 3 (was 2)",),
    "embed": ("units changed",),
    "surprise": ("units changed",),
    "segment": ("embed changed", "surprise changed"),
    "denoise": ("segment changed",),
    "cluster": ("segment changed",),
    "semantic": ("cluster changed", "segment changed"),
}
"""Steps that run again since sentences end at the marks of more scripts, and why."""


def test_a_plan_says_which_steps_have_a_new_version_and_what_depends_on_them(place):
    plan = mnemic.plan("recipe.yaml", device="cpu")
    assert {step.step: step.reasons for step in plan.steps if step.kind == "stale"} == REDONE
    rest = [[step.step, step.kind, step.total] for step in plan.steps if step.step not in {*REDONE, "release"}]
    assert rest == [entry for entry in ANSWERS["plan"] if entry[0] not in {*REDONE, "release"}]


def test_a_build_does_these_again_takes_the_vectors_over_and_changes_nothing(place, monkeypatch):
    monkeypatch.setattr(TextEncoder, "load", lambda *_, **__: pytest.fail("a text was encoded again"))
    result = mnemic.build("recipe.yaml", device="cpu", engine="inline")
    assert [step.step for step in result.steps] == [*REDONE, "release"]
    after = mnemic.open_bank("bank")
    assert after.digest() == ANSWERS["digest"] and after.release.counts == ANSWERS["counts"]
    assert [(step.step, step.kind) for step in mnemic.plan("recipe.yaml", device="cpu").steps] == [
        (name, kind) for name, kind, _ in ANSWERS["plan"]
    ]
    again = mnemic.build("recipe.yaml", device="cpu", engine="inline")
    assert again.steps == () and len(mnemic.open_bank("bank").releases()) == 2


def test_its_records_are_those_that_its_recipe_asks_for(bank):
    fingerprints = {step.name: step.record.fingerprint for step in steps_of(load_recipe("recipe.yaml"), "cpu")}
    recorded = {name: record["fingerprint"] for name, record in bank.release.lineage.items() if name != "release"}
    assert recorded.keys() == fingerprints.keys()
    assert {name for name in fingerprints if recorded[name] != fingerprints[name]} == set(REDONE)


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
    mnemic.build("recipe.yaml", device="cpu", engine="inline")
    edit()
    result = mnemic.build("recipe.yaml", device="cpu", engine="inline")
    assert [[step.step, step.rows] for step in result.steps] == ANSWERS["edited"]
    assert mnemic.plan("recipe.yaml", device="cpu").nothing_to_do
