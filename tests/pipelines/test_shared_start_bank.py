"""A bank whose blocks begin with one of all topics, which ends the same in any order and after any break."""

import json
import random

import pytest
from tiny_bank import WORDS, TinyBank

import mnemic
from mnemic.blocks.layout import GENERIC, SHARED
from mnemic.dataset import Store
from mnemic.errors import RecipeError
from operators.blocks.operator import TrainBlocks
from pipelines.identity import resolved_fields
from pipelines.recipe import load_recipe
from pipelines.steps import blocks, steps_of
from pipelines.steps.block_jobs import JobRunner

BLOCKS = {
    "min_tokens": 150,
    "rows": [4, 2],
    "layers": [1, 3],
    "stored": "float32",
    "control": True,
    "sequence": 48,
    "epochs": 3,
    "shared_epochs": 2,
    "batch": 96,
    "learning_rate": 0.02,
    "dtype": "float32",
}
SECTIONS = (
    *("name", "bank", "fragment_characters", "sources", "embed", "segment", "cluster", "language_model"),
    *("split", "datastore", "blocks"),
)
SPLIT = {"tokens": 6000, "held_out_tokens": 400, "min_characters": 100, "max_document_tokens": 64}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return TinyBank.build(tmp_path_factory.mktemp("shared"), SECTIONS, blocks=BLOCKS, split=SPLIT, datastore=False)


def cells(bank):
    return {row["path"]: row["weights"] for row in bank.table("blocks", ["path", "weights"]).to_pylist()}


def test_blocks_that_begin_with_the_shared_one_cost_what_the_control_costs_and_differ_from_others(built, tmp_path):
    bank = built.open()
    rows = bank.table("blocks", ["path", "job", "tokens", "steps", "metrics"]).to_pylist()
    assert SHARED not in {row["path"] for row in rows} and not bank.table("memories", ["final"]).to_pylist()[1:]
    costs = {row["job"]: json.loads(row["metrics"]) for row in rows}
    topics = sum(own["trained_tokens"] for job, own in costs.items() if job not in GENERIC)
    assert (
        topics
        == costs["control"]["trained_tokens"]
        == 3 * sum(row["tokens"] for row in rows if row["path"] == "control")
    )
    curves = bank.table("metrics", ["metric", "epoch"]).to_pylist()
    last = {name: max(one["epoch"] for one in curves if one["metric"] == f"train_loss/{name}") for name in costs}
    assert last == {job: 3 if job == "fallback" else 1 for job in costs}
    assert {one["epoch"] for one in curves if one["metric"] == f"train_loss/{SHARED}"} == {1, 2}
    recipe = built.copy(tmp_path)
    alone = {**recipe, "blocks": {**BLOCKS, "epochs": 1, "shared_epochs": 0}}
    step = {one.name: one for one in steps_of(load_recipe(alone), "cpu")}["blocks"]
    assert "blocks.shared_epochs: 2 -> nothing" in step.state(Store(recipe["bank"])).reasons
    mnemic.build(alone, device="cpu")
    before, after = cells(bank), cells(mnemic.open_bank(recipe["bank"]))
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path in before)


def test_any_order_and_any_break_end_with_the_same_bank(built, tmp_path, monkeypatch):
    recipe = {**built.recipe, "bank": str(tmp_path / "bank")}
    monkeypatch.setattr(blocks, "sorted", lambda names: sorted(names, reverse=True), raising=False)
    epoch, calls = JobRunner.epoch, []

    def broken(self, item, *states):
        calls.append(item.job.name)
        if random.Random(len(calls)).random() < 0.3:
            raise KeyboardInterrupt
        return epoch(self, item, *states)

    monkeypatch.setattr(JobRunner, "epoch", broken)
    breaks = 0
    while breaks < 50:
        try:
            mnemic.build(recipe, device="cpu")
            break
        except KeyboardInterrupt:
            breaks += 1
    assert 3 < breaks < 50 and calls.count(SHARED) > 2
    assert mnemic.open_bank(recipe["bank"]).digest() == built.open().digest()
    assert mnemic.build(recipe, device="cpu").steps == ()


@pytest.mark.slow
def test_new_documents_train_all_topics_anew_and_the_bank_is_that_of_one_build(built, tmp_path):
    recipe, corpus = built.copy_with_corpus(tmp_path)
    draw = random.Random(7)
    for number in range(4):
        words = " ".join(draw.choices(WORDS, k=60))
        (corpus / "alpha" / f"more-{number}.txt").write_text(f"{words.capitalize()}.")
    before = cells(built.open())
    mnemic.build(recipe, device="cpu")
    grown = mnemic.open_bank(recipe["bank"])
    anew = {**recipe, "bank": str(tmp_path / "anew")}
    mnemic.build(anew, device="cpu")
    assert grown.digest() == mnemic.open_bank(anew["bank"]).digest()
    after = cells(grown)
    assert all(before[path] != after[path] for path in before.keys() & after.keys() - {"fallback"})


def test_at_its_default_the_setting_enters_no_fingerprint_and_strange_ones_are_refused():
    fields = resolved_fields(TrainBlocks(), lambda address: "hash")
    assert "shared_epochs" not in fields and "epochs" in fields
    assert resolved_fields(TrainBlocks(shared_epochs=1), lambda address: "hash")["shared_epochs"] == 1
    assert "shared_epochs" not in TrainBlocks().identity()
    for wrong in ({"shared_epochs": 4}, {"shared_epochs": -1}, {"shared_epochs": 1, "rows": (0, 4)}):
        with pytest.raises(RecipeError):
            TrainBlocks(**wrong)
