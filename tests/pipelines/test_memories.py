"""Several memories share the datasets `memories` and `metrics`; each has a step of its own."""

import numpy as np
import pytest

import mnemic
from mnemic import languagemodel
from mnemic.errors import RecipeError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.texts import Texts, decoder_log_probs
from mnemic.mixture import best_shares, best_weight


@pytest.fixture
def recipe(tiny, tmp_path):
    """Of a bank that has the memory `mlp`."""
    return tiny.copy(tmp_path)


def build(recipe):
    return [step.step for step in mnemic.build(recipe, device="cpu", engine="inline").steps]


def planned(recipe):
    return {step.step: (step.kind, step.reasons) for step in mnemic.plan(recipe, device="cpu").steps}


def test_a_memory_comes_and_goes_and_leaves_the_others_as_they_are(recipe, tmp_path):
    alone = mnemic.open_bank(recipe["bank"])
    with_control = {**recipe, "control": True}
    assert build(with_control) == ["control", "release"]
    both = mnemic.open_bank(recipe["bank"])
    kinds = {info.name: (info.kind, info.owner) for info in both.memories()}
    assert kinds == {"mlp": ("mlp", "imitate"), "cross-entropy": ("mlp", "control"), "knn": ("knn", "teacher")}
    weights = [memory.module.to_bytes() for memory in (both.memory(), alone.memory(), both.memory("cross-entropy"))]
    assert weights[0] == weights[1] != weights[2]

    changed = {**with_control, "imitate": {**recipe["imitate"], "alpha": 0.7}}
    assert planned(changed)["imitate"] == ("stale", ("imitate.alpha: 0.4 -> 0.7",))
    assert planned(changed)["control"] == ("done", ())  # which has no teacher to weigh
    assert build(changed) == ["imitate", "release"]

    assert planned(recipe)["imitate"][0] == "stale"
    assert build(recipe) == ["imitate", "release"]
    assert mnemic.open_bank(recipe["bank"]).digest() == alone.digest()
    build({**with_control, "bank": str(tmp_path / "at-once")})
    assert mnemic.open_bank(tmp_path / "at-once").digest() == both.digest()


def test_a_memory_that_the_recipe_no_longer_makes_is_cleared_away(recipe):
    build({**recipe, "control": True})
    assert planned(recipe)["imitate"] == ("done", ())
    assert planned(recipe)["release"] == ("pending", ("memories that the recipe no longer makes",))
    assert build(recipe) == ["release"]
    assert planned(recipe)["release"] == ("done", ())
    bank = mnemic.open_bank(recipe["bank"])
    assert [info.name for info in bank.memories()] == ["mlp", "knn"]
    assert set(bank.table("metrics", ["memory"])["memory"].to_pylist()) == {"mlp"}


def test_curves_are_rows(recipe):
    recipe["imitate"] = {**recipe["imitate"], "batch": 8}
    build(recipe)
    bank = mnemic.open_bank(recipe["bank"])
    trained = bank.dataset("datastore").count("split = 'store'")
    rows = bank.table("metrics").sort_by([("step", "ascending")]).to_pylist()
    steps = -(-trained // 8)
    for epoch in (1, 2, 3):
        of_epoch = [row for row in rows if row["epoch"] == epoch]
        losses = [row for row in of_epoch if row["metric"] == "train_loss"]
        assert len(losses) == 20 and losses[-1]["step"] == epoch * steps and losses[-1]["rows"] == epoch * trained
        (last,) = [row for row in of_epoch if row["metric"] == "validation_perplexity"]
        assert last["step"] == epoch * steps
    metrics = bank.memory_info("mlp").metrics
    rates = [row["value"] for row in rows if row["metric"] == "learning_rate"]
    assert max(rates) < 2e-3 and rates[-1] == min(rates) > 0
    assert metrics["trained_tokens"] == 3 * trained
    assert metrics["parameters"] == sum(part.numel() for part in bank.memory().module.parameters())
    last = [row["value"] for row in rows if row["epoch"] == 3 and row["metric"] == "train_loss"]
    assert sum(last) / 20 == pytest.approx(metrics["train_loss"], rel=0.05)


DECODER = {"epochs": 2, "blocks": 1, "batch": 128, "dtype": "float32", "pass_tokens": 256}


def test_a_decoder_is_trained_on_the_text_beside_the_others(recipe):
    with_decoder = {**recipe, "decoder": DECODER}
    assert build(with_decoder) == ["decode", "release"]
    bank = mnemic.open_bank(recipe["bank"])
    info = bank.memory_info("decoder")
    assert info.kind == "decoder" and info.config == {"window": 64, "stride": 32, "tokens": 64}
    assert info.owner == "decode" and info.lock == bank.memory_info("mlp").lock
    assert info.metrics["validation_perplexity"] < info.metrics["validation_base_perplexity"]

    changed = {**with_decoder, "decoder": {**DECODER, "learning_rate": 0.01}}
    assert planned(changed)["decode"] == ("stale", ("decode.learning_rate: 0.001 -> 0.01",))
    assert planned(changed)["imitate"] == ("done", ())
    assert build(changed) == ["decode", "release"]


def test_a_decoder_is_scored_in_one_way_by_training_tuning_and_evaluation(recipe):
    build({**recipe, "decoder": DECODER})
    bank = mnemic.open_bank(recipe["bank"])
    rows, memory = HeldOutRows.read(bank.view), bank.memory("decoder")
    texts = Texts.from_arrow(rows.documents, rows.table, languagemodel.tokenizer(recipe["language_model"]), 64)
    scores = decoder_log_probs(memory.module, texts, window=64, stride=32)
    assert np.array_equal(memory.scores(rows), scores) and len(scores) == len(rows) > 0
    weight, mixed = best_weight(rows.base, scores)
    metrics = memory.info.metrics
    assert (weight, mixed) == (metrics["weight"], pytest.approx(metrics["validation_perplexity"]))
    assert mnemic.evaluate(bank).weights["decoder"] == weight
    assert bank.tune(["decoder"])["decoder"] == pytest.approx(best_shares(rows.base, [scores])[0][0])
    assert np.isfinite(scores[rows.table["position"].to_numpy() == 1]).any(), "the first row of a document counts too"


def test_a_misspelt_setting_of_a_decoder_names_the_nearest(recipe):
    with pytest.raises(RecipeError, match=r"`decoder.epoch` is not a setting: did you mean `epochs`"):
        mnemic.plan({**recipe, "decoder": {"epoch": 3}})
    with pytest.raises(RecipeError, match=r"`decoder.window` is said by `datastore.window`"):
        mnemic.plan({**recipe, "decoder": {"window": 32}})
