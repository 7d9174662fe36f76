"""Several memories share the datasets `memories` and `metrics`; each has a step of its own."""

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic import languagemodel
from mnemic.errors import RecipeError
from mnemic.memories.decoder import MemoryDecoder
from mnemic.mixture import best_weight
from operators.imitate import Texts, decoder_log_probs


@pytest.fixture
def recipe(tmp_path):
    return tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus", documents=18))


def build(recipe):
    return [step.step for step in mnemic.build(recipe, device="cpu", engine="inline").steps]


def planned(recipe):
    return {step.step: (step.kind, step.reasons) for step in mnemic.plan(recipe, device="cpu").steps}


def test_a_memory_comes_and_goes_and_leaves_the_others_as_they_are(recipe, tmp_path):
    build(recipe)
    alone = mnemic.open_bank(recipe["bank"])
    with_control = {**recipe, "control": True}
    assert build(with_control) == ["control", "release"]
    both = mnemic.open_bank(recipe["bank"])
    kinds = {row["name"]: row["kind"] for row in both.memories()}
    assert kinds == {"mlp": "mlp", "cross-entropy": "mlp", "knn": "knn"}
    assert both.memory()[0].to_bytes() == alone.memory()[0].to_bytes() != both.memory("cross-entropy")[0].to_bytes()

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
    assert [row["name"] for row in bank.memories()] == ["mlp", "knn"]
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
    memory = bank.memory_row("mlp")
    rates = [row["value"] for row in rows if row["metric"] == "learning_rate"]
    assert max(rates) < 2e-3 and rates[-1] == min(rates) > 0
    assert memory["metrics"]["trained_tokens"] == 3 * trained
    assert memory["metrics"]["parameters"] == sum(part.numel() for part in bank.memory()[0].parameters())
    last = [row["value"] for row in rows if row["epoch"] == 3 and row["metric"] == "train_loss"]
    assert sum(last) / 20 == pytest.approx(memory["metrics"]["train_loss"], rel=0.05)


DECODER = {"epochs": 2, "blocks": 1, "batch": 128, "dtype": "float32", "pass_tokens": 256}


def test_a_decoder_is_trained_on_the_text_beside_the_others(recipe):
    build(recipe)
    with_decoder = {**recipe, "decoder": DECODER}
    assert build(with_decoder) == ["decode", "release"]
    bank = mnemic.open_bank(recipe["bank"])
    row = next(row for row in bank.memories() if row["name"] == "decoder")
    assert row["kind"] == "decoder" and row["config"] == {"window": 64, "stride": 32, "tokens": 64}
    assert row["metrics"]["validation_perplexity"] < row["metrics"]["validation_base_perplexity"]

    changed = {**with_decoder, "decoder": {**DECODER, "learning_rate": 0.01}}
    assert planned(changed)["decode"] == ("stale", ("decode.learning_rate: 0.001 -> 0.01",))
    assert planned(changed)["imitate"] == ("done", ())
    assert build(changed) == ["decode", "release"]


def test_what_a_decoder_says_of_held_out_rows_is_what_its_training_measured(recipe):
    build({**recipe, "decoder": DECODER})
    bank = mnemic.open_bank(recipe["bank"])
    row = next(row for row in bank.memories() if row["name"] == "decoder")
    weights = bank.dataset("memories").table(["weights"], "name = 'decoder'")["weights"][0].as_py()
    held = bank.table("datastore", ["document", "position", "token", "base_logprob"], "split LIKE 'validation-%'")
    _, tokenizer = languagemodel.load(recipe["language_model"], "float32")
    texts = Texts.from_arrow(bank.table("documents", ["id", "text"]), held, tokenizer, row["config"]["tokens"])
    scores = decoder_log_probs(MemoryDecoder.from_bytes(weights), texts, row["config"]["window"], 32)
    weight, mixed = best_weight(held["base_logprob"].to_numpy(), scores)
    assert (weight, mixed) == (row["metrics"]["weight"], pytest.approx(row["metrics"]["validation_perplexity"]))


def test_a_misspelt_setting_of_a_decoder_names_the_nearest(recipe):
    with pytest.raises(RecipeError, match=r"`decoder.epoch` is not a setting: did you mean `epochs`"):
        mnemic.plan({**recipe, "decoder": {"epoch": 3}})
    with pytest.raises(RecipeError, match=r"`decoder.window` is said by `datastore.window`"):
        mnemic.plan({**recipe, "decoder": {"window": 32}})
