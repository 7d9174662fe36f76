"""Gates of a bank: built as a step, stored with what they were trained for, and used by attach, tune and eval."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from tiny_bank import EVERYTHING, UNITS_ALONE, TinyBank, curated, tiny_recipe, write_corpus

import mnemic
from mnemic import languagemodel
from mnemic.attach import Unrolling, detach
from mnemic.attach.output.gating import Gated
from mnemic.command import main
from mnemic.edits import without
from mnemic.errors import ModelError
from mnemic.memories import gates, suffix
from mnemic.memories.gate_training import GateSettings, train
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.scored_rows import scored_by, scored_by_all, scored_rows
from mnemic.memories.tuning import gated, weights_for
from mnemic.suffixes.stored import evaluated_index
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

SETS = {
    *("mlp", "decoder", "knn", "suffix"),
    *("mlp+suffix", "decoder+suffix", "knn+suffix", "decoder+knn+mlp+suffix"),
}

FOLDS = {"folds": 2}
"""A gate of the usual size, trained three times in the place of six."""


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The tiny bank with two memories more, and so with gates."""
    recipe = tiny.copy(tmp_path_factory.mktemp("gates"))
    recipe |= {"suffixes": {}, "decoder": EVERYTHING["decoder"], "gate": FOLDS}
    mnemic.build(recipe, device="cpu")
    return TinyBank(recipe)


@pytest.fixture(scope="module")
def bank(whole):
    return whole.open()


@pytest.fixture(scope="module")
def loaded(bank):
    return languagemodel.load(bank.release.recipe["language_model"], "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    detach(loaded[0])


def check_confidence(bank, loaded):
    rows = bank.table("datastore", ["document", "position", "split", "base_logprob", "base_max", "base_entropy"])
    there = np.array([split != "store" for split in rows["split"].to_pylist()])
    for name in ("base_max", "base_entropy"):
        np.testing.assert_array_equal(~np.isnan(rows[name].to_numpy().astype(float)), there)
    document = next(row["document"] for row in rows.to_pylist() if row["split"] != "store")
    (row,) = bank.table("documents", where=f"id = '{document}'").to_pylist()
    text = without(row["text"], row.get("edits"))
    ids = torch.tensor([loaded[1](text, add_special_tokens=False)["input_ids"][:33]])
    with torch.inference_mode():
        logs = torch.log_softmax(loaded[0](input_ids=ids).logits[0].double(), -1).numpy()
    own = [row for row in rows.to_pylist() if row["document"] == document and row["position"] <= 32]
    for row in own:
        assert row["base_max"] == pytest.approx(logs[row["position"] - 1].max(), abs=1e-4)
        entropy = -(np.exp(logs) * logs)[row["position"] - 1].sum()
        assert row["base_entropy"] == pytest.approx(entropy, abs=1e-4)
        assert row["base_max"] >= row["base_logprob"] - 1e-6


def test_held_out_rows_say_how_sure_the_model_was_and_rows_of_the_store_nothing(bank, loaded):
    check_confidence(bank, loaded)


def test_the_model_is_as_sure_of_a_text_without_what_is_cut_from_it(loaded, tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    sections = ("name", "bank", "fragment_characters", "sources", "split", "datastore", "neighbours", "teacher", "gate")
    recipe = tiny_recipe(tmp_path, corpus, gate={"units": 0, "folds": 2})
    rules = curated(tmp_path, "cut", few_words={"value": "words", "min": 1})
    parts = [" ".join(file.read_text().split()[5:25]) for file in sorted(corpus.rglob("[0-9]*.txt"))]
    (tmp_path / "questions.txt").write_text("\n".join(parts) + "\n")
    recipe = {name: recipe[name] for name in (*sections, "language_model")} | rules | UNITS_ALONE | {"imitate": False}
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    edits = bank.table("documents", ["edits"], "split <> '' AND split <> 'store'")["edits"].to_pylist()
    assert len(edits) > 4 and all(edits)
    check_confidence(bank, loaded)


def test_each_memory_each_pair_that_belongs_together_and_all_have_a_row(bank):
    rows = {row["name"]: row for row in bank.table("gates").to_pylist()}
    assert set(rows) == SETS
    ids = {info.name: info.id for info in bank.memories()}
    for name, row in rows.items():
        assert json.loads(row["memories"]) == {one: ids[one] for one in name.split("+")}
        record = json.loads(row["record"])
        assert record["step"] == "gate" and record["fingerprint"] == bank.release.lineage["gate"]["fingerprint"]
        assert {"teacher", "imitate", "decode"} <= set(record["reads"]) and row["state"] == record["state"]
        metrics = json.loads(row["metrics"])
        assert (row["gate"] != "") == (metrics["gated"] < metrics["fixed"])
        assert metrics["rows"] == bank.dataset("datastore").count("split LIKE 'validation-%'")


def test_a_gate_is_that_of_the_definition_from_the_rows(bank):
    rows = HeldOutRows.read(bank.view)
    names = ["decoder", "knn", "mlp"]
    together = scored_rows(rows, scored_by_all([bank.memory(name) for name in names], rows))
    assert together.names[:2] == ("base.largest", "base.entropy")
    np.testing.assert_array_equal(together.logs[:, 0], rows.base)
    for at, name in enumerate(names):
        np.testing.assert_allclose(together.logs[:, at + 1], bank.memory(name).scores(rows), rtol=1e-6)
    weighing = bank.weighing(names)
    if weighing.gate is not None:
        again = train(together, weighing.weights, GateSettings())
        np.testing.assert_allclose(again.shares(together.features), weighing.gate.shares(together.features), atol=1e-9)
    assert bank.weighing(list(reversed(names))) is not None


def test_the_retrievers_confidence_is_that_of_its_votes(bank):
    memory, rows = bank.memory("knn"), HeldOutRows.read(bank.view)
    own = scored_by(memory, rows).features
    keys = HeldOutRows.read(bank.view, columns=("key",)).table["key"]
    with torch.inference_mode():
        logs = memory.module.log_probs(torch.tensor(np.array(keys.to_pylist(), np.float16))).double().numpy()
    shares = np.exp(logs)
    entropy = -(shares * np.where(shares > 0, logs, 0)).sum(1)
    np.testing.assert_allclose(own, np.stack([logs.max(1), entropy], axis=1), atol=2e-3)


@pytest.mark.parametrize("names", ["mlp", "knn", "suffix", "decoder+mlp", "mlp+suffix+knn+decoder"])
def test_a_model_with_the_gate_gives_held_out_tokens_what_evaluation_says(bank, model, loaded, monkeypatch, names):
    """The gate is taken whether it is better or not: the features of tuning are those of a forward pass."""
    names, rows = names.split("+"), HeldOutRows.read(bank.view)
    together = scored_rows(rows, scored_by_all([bank.memory(name) for name in sorted(names)], rows))
    weighing = bank.weighing(names)
    whole = dataclasses.replace(weighing, gate=train(together, weighing.weights, GateSettings()))
    monkeypatch.setattr(gates, "weighing", lambda *_: whole)
    monkeypatch.setattr(suffix, "index_of", lambda view, where: evaluated_index(view))
    expected = -whole.losses(together)
    lm = bank.attach(model, names, "gate", loaded[1])
    documents = rows.table["document"].to_numpy()
    text = dict(zip(*(rows.documents[name].to_pylist() for name in ("id", "text")), strict=True))
    checked = 0
    for name in np.unique(documents)[:4]:
        ids = torch.tensor([loaded[1](text[name], add_special_tokens=False)["input_ids"][:64]])
        with torch.inference_mode():
            logs = torch.log_softmax(lm(input_ids=ids).logits[0], -1)
        for at in np.flatnonzero(documents == name):
            position = rows.table["position"][int(at)].as_py()
            if position < 64:
                assert float(logs[position - 1, rows.token[at]]) == pytest.approx(expected[at], abs=5e-3)
                checked += 1
    assert checked > 50


def test_a_bank_with_gates_uses_them_unless_a_weight_is_given(bank, model, loaded):
    memories = [bank.memory("mlp"), bank.memory("knn")]
    by_default = weights_for(bank.view, memories, dict.fromkeys(("mlp", "knn")))
    weighing = bank.weighing(["mlp", "knn"])
    if weighing.gate is None:
        assert by_default == [weighing.weights[1], weighing.weights[0]], "components are in the order of names"
    else:
        assert all(isinstance(weight, Gated) for weight in by_default)
    assert weights_for(bank.view, memories, {"mlp": 0.2, "knn": 0.1}) == [0.2, 0.1]
    chosen = weights_for(bank.view, memories, {"mlp": "gate", "knn": Unrolling(0.5)})
    assert chosen[1] == Unrolling(0.5)
    assert isinstance(chosen[0], Gated) == (bank.weighing(["mlp"]).gate is not None)
    base = model(input_ids=torch.tensor([[5, 6, 7]])).logits
    with bank.attached(model, ["mlp", "knn"], tokenizer=loaded[1]):
        assert not torch.equal(model(input_ids=torch.tensor([[5, 6, 7]])).logits, base)
    with bank.attached(model, {"mlp": 0}, tokenizer=loaded[1]) as lm:
        assert torch.equal(lm(input_ids=torch.tensor([[5, 6, 7]])).logits, base)
    assert torch.equal(model(input_ids=torch.tensor([[5, 6, 7]])).logits, base)
    with pytest.raises(ModelError, match="between 0 and 1"):
        bank.attach(model, {"mlp": "gates"}, tokenizer=loaded[1])


def test_a_bank_without_gates_attaches_with_the_weights_of_before_and_weighs_where_it_is_asked(tiny, model):
    bank = tiny.open()
    memories = [bank.memory("mlp"), bank.memory("knn")]
    assert not gates.has_gates(bank.view)
    assert weights_for(bank.view, memories[:1], {"mlp": None}) == [bank.memory_info("mlp").metrics["weight"]]
    both = weights_for(bank.view, memories, dict.fromkeys(("mlp", "knn")))
    assert both == [*bank.tune(["mlp", "knn"]).values()]
    weighing = bank.weighing(["mlp", "knn"])
    assert weighing.components == ("base", "knn", "mlp") and weighing.fixed is not None
    assert set(gated(bank.view, memories)) == {"mlp", "knn"}


def test_a_plan_has_the_step_only_where_the_recipe_asks_for_it(whole, tiny):
    assert "gate" in {step.name for step in steps_of(load_recipe(whole.recipe), "cpu")}
    assert "gate" not in {step.name for step in steps_of(load_recipe(tiny.recipe), "cpu")}
    assert mnemic.plan(whole.recipe, device="cpu").nothing_to_do


def test_a_bank_of_before_gains_gates_without_scoring_searching_or_training_again(tiny, tmp_path):
    recipe = {**tiny.copy(tmp_path), "gate": FOLDS}
    before = {step.step: step.kind for step in mnemic.plan(recipe, device="cpu").steps}
    assert {name for name, kind in before.items() if kind != "done"} == {"gate", "release"}
    result = mnemic.build(recipe, device="cpu")
    assert [step.step for step in result.steps] == ["gate", "release"]
    mnemic.build(recipe, device="cpu", anew=["gate"])
    digests = (tiny.open().digest(), mnemic.open_bank(recipe["bank"]).digest())
    assert {name for name in digests[1] if digests[0].get(name) != digests[1][name]} == {"bank", "datastore", "gates"}


def test_another_gate_keeps_the_confidences_and_a_memory_trained_again_makes_it_due(whole, tmp_path):
    recipe = whole.copy(tmp_path)
    linear = {**recipe, "gate": {**FOLDS, "units": 0}}
    (step,) = [step for step in mnemic.plan(linear, device="cpu").steps if step.step == "gate"]
    assert step.kind == "stale" and step.reasons == ("gate.units: 16 -> 0",)
    before = mnemic.open_bank(recipe["bank"])
    mnemic.build(linear, device="cpu")
    after = mnemic.open_bank(recipe["bank"])
    assert after.digest()["datastore"] == before.digest()["datastore"]
    stored = [row["gate"] for row in after.table("gates", ["gate"]).to_pylist() if row["gate"]]
    assert all(len(json.loads(one)["layers"]) == 1 for one in stored)
    longer = {**linear, "imitate": {**recipe["imitate"], "epochs": 1}}
    mnemic.build(longer, device="cpu")
    ids = {info.name: info.id for info in mnemic.open_bank(recipe["bank"]).memories()}
    for row in mnemic.open_bank(recipe["bank"]).table("gates", ["memories"]).to_pylist():
        assert all(ids[name] == id for name, id in json.loads(row["memories"]).items())


def test_gates_are_computed_anew_where_somebody_asks_and_are_the_same(whole, tmp_path):
    recipe = whole.copy(tmp_path)
    before = mnemic.open_bank(recipe["bank"]).digest()
    result = mnemic.build(recipe, device="cpu", anew=["gate"])
    assert [step.step for step in result.steps] == ["gate", "release"]
    assert mnemic.open_bank(recipe["bank"]).digest() == before


def test_a_gate_of_memories_that_were_trained_again_is_none(bank, monkeypatch):
    stored = gates.stored(bank.view)["mlp"]
    infos = [bank.memory_info("mlp")]
    assert gates._stored(bank.view, infos) == stored
    assert gates._stored(bank.view, [dataclasses.replace(infos[0], id="another")]) is None


def test_evaluation_tells_sets_under_their_gate_and_shares_of_the_retriever_fixed_and_gated(bank, capsys):
    evaluation = mnemic.evaluate(bank)
    assert set(evaluation.gates) == SETS
    for part in evaluation.perplexities:
        assert set(part.gated) == set(evaluation.gates)
        rows = HeldOutRows.read(bank.view, f"split = 'test-{part.part}'")
        together = scored_rows(rows, scored_by_all([bank.memory("mlp")], rows))
        expected = np.exp(bank.weighing(["mlp"]).losses(together).mean())
        assert part.gated["knn"].recovered_gated is None
        assert sum(bucket.tokens for bucket in part.matches) == part.tokens and 0 <= part.copied <= 1
        assert part.gated["mlp"].comparison.perplexity.value == pytest.approx(expected, rel=1e-6)
    assert main(["eval", bank.path]) == 0
    lines = capsys.readouterr().out
    assert "stand in spans of 8 and more" in lines and "attach uses all of it" in lines
    assert "MLP memory, gated" in lines and "gate of kNN-LM" in lines and "cross-validation by document" in lines
    assert main(["eval", bank.path, "--json"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_a_bank_that_holds_out_too_little_for_a_gate_says_so(whole, tmp_path):
    recipe = {**whole.recipe, "bank": str(tmp_path / "bank"), "split": {**whole.recipe["split"], "held_out_tokens": 0}}
    shutil.rmtree(tmp_path / "bank", ignore_errors=True)
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.dataset("gates").count() == 0
    weighing = bank.weighing(["mlp", "knn"])
    assert weighing.gate is None and weighing.weights == (0.125, 0.125) and "Too few" in weighing.reason
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
