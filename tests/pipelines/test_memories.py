"""Several memories share the datasets `memories` and `metrics`; each has a step of its own."""

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic


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
    assert {row["name"]: row["kind"] for row in both.memories()} == {"mlp": "mlp", "cross-entropy": "mlp"}
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
    assert planned(recipe)["imitate"] == ("pending", ("memories that the recipe no longer makes",))
    assert build(recipe) == ["imitate", "release"]
    bank = mnemic.open_bank(recipe["bank"])
    assert [row["name"] for row in bank.memories()] == ["mlp"]
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
    (memory,) = bank.memories()
    rates = [row["value"] for row in rows if row["metric"] == "learning_rate"]
    assert max(rates) < 2e-3 and rates[-1] == min(rates) > 0
    assert memory["metrics"]["trained_tokens"] == 3 * trained
    assert memory["metrics"]["parameters"] == sum(part.numel() for part in bank.memory()[0].parameters())
    last = [row["value"] for row in rows if row["epoch"] == 3 and row["metric"] == "train_loss"]
    assert sum(last) / 20 == pytest.approx(memory["metrics"]["train_loss"], rel=0.05)
