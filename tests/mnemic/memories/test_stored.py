"""The memories of a bank: the retriever beside the trained ones, weights tuned together, and the lock of each."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import Host, Unrolling, detach
from mnemic.bank import Bank
from mnemic.dataset.write import append_rows
from mnemic.errors import BankError, ModelError
from mnemic.memories import datastore, knn
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder
from mnemic.memories.held_out import HeldOutRows
from mnemic.mixture import best_weight
from mnemic.neighbours.lists import Lists


@pytest.fixture(scope="module")
def recipe(tiny, tmp_path_factory):
    return tiny.copy(tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def bank(recipe):
    return mnemic.open_bank(recipe["bank"])


@pytest.fixture(scope="module")
def loaded(recipe):
    return languagemodel.load(recipe["language_model"], "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    detach(loaded[0])


READ = {"window": 64, "stride": 32, "tokens": 64}
"""How the recipe reads documents, as the config of a decoder says it."""


def with_datasets(bank, *without, **versions):
    """The bank as another release would pin it."""
    fewer = {name: version for name, version in bank.release.versions.items() if name not in without}
    return Bank(bank.store, replace(bank.release, versions={**fewer, **versions}))


@pytest.fixture(scope="module")
def with_decoder(bank):
    """The bank with a random decoder beside the trained memory."""
    row = bank.dataset("memories").table(bank.dataset("memories").schema.names, "final = true").to_pylist()[0]
    tokens = torch.from_numpy(np.unique(bank.table("datastore", ["token"])["token"].to_numpy().astype(np.int64)))
    torch.manual_seed(0)
    decoder = MemoryDecoder(DecoderConfig(320, 32, len(tokens), 2, 48, 4, 2), tokens)
    row |= {
        "id": "decoder",
        "name": "decoder",
        "kind": "decoder",
        "config": json.dumps(READ),
        "weights": decoder.to_bytes(),
    }
    dataset = bank.store["memories"]
    schema = dataset.require().schema
    append_rows(dataset, pa.Table.from_pylist([row], schema=schema), schema, {})
    return with_datasets(bank, memories=dataset.require().version)


def held_out(bank):
    return HeldOutRows.read(bank.view, columns=["token", "key", "base_logprob", "teacher_label"])


def test_the_retriever_is_one_of_the_memories(bank):
    trained, own = bank.memories()
    assert trained.name == trained.kind == "mlp" and own.name == own.kind == "knn"
    assert own.lock == trained.lock and own.config["neighbours"] == 16
    assert (trained.owner, own.owner) == ("imitate", "teacher")
    assert own.config["rows"] == bank.dataset("datastore").count("split = 'store'")
    rows = held_out(bank)
    expected = best_weight(rows.base, datastore.label_log_prob(rows))[0]
    assert own.metrics["weight"] == expected > 0
    with pytest.raises(BankError, match=r"no memory 'other'. It has: mlp, knn"):
        bank.memory("other")


@pytest.mark.parametrize("way", ["exact", "lists"])
def test_it_says_what_the_teacher_said_of_held_out_rows(bank, way, monkeypatch):
    """Their documents are not in the store, so nothing was masked for them."""
    monkeypatch.setattr(knn, "EXACT_ROWS", 20_000 if way == "exact" else 50)
    memory = bank.memory("knn").module
    assert isinstance(memory.store, Lists) == (way == "lists")
    rows = held_out(bank).table
    keys = torch.from_numpy(datastore.vectors(rows["key"].combine_chunks()))
    chances = memory.token_log_prob(keys, torch.from_numpy(rows["token"].to_numpy().astype(np.int64))).exp().numpy()
    same = np.isclose(chances, rows["teacher_label"].to_numpy(), atol=1e-4)
    assert same.mean() == 1.0 if way == "exact" else same.mean() > 0.9
    stored = bank.table("datastore", ["document", "position", "token"], "split = 'store'")
    ordered = stored.sort_by([("document", "ascending"), ("position", "ascending")])["token"].to_numpy()
    assert np.array_equal(memory.tokens[memory.place].numpy(), ordered), "rows are in the order of the teacher's"


def test_lists_of_the_release_are_used(bank, monkeypatch):
    monkeypatch.setattr(knn, "EXACT_ROWS", 50)
    whole = bank.memory("knn").module.store
    width = whole.centroids.shape[1]
    centroid = pa.FixedSizeListArray.from_arrays(pa.array(whole.centroids.numpy().reshape(-1)), width)
    count = len(centroid)
    columns = {"list": pa.array(range(count), pa.int32()), "rows": pa.array([1] * count), "centroid": centroid}
    table = pa.table(columns)
    append_rows(bank.store["lists"], table.take(list(range(count))[::-1]), table.schema, {})
    pinned = with_datasets(bank, lists=bank.store["lists"].require().version)
    monkeypatch.setattr(Lists, "measure", lambda self, recall: pytest.fail("it was measured by the teacher"))
    narrow = datastore.load(pinned.view, {**pinned.memory_info("knn").config, "probes": 1}).store
    assert torch.equal(narrow.centroids, whole.centroids) and narrow.probes == 1


def test_attaching_the_retriever_and_several_together(bank, loaded, model):
    inputs = loaded[1]("The table of a column", return_tensors="pt")
    with torch.inference_mode():
        base = model(**inputs).logits
        for memory in ("knn", ["mlp", "knn"], {"knn": Unrolling(0.5), "mlp": 0.2}):
            mixed = bank.attach(model, memory, tokenizer=loaded[1])(**inputs).logits
            assert torch.allclose(mixed.exp().sum(-1), torch.ones(mixed.shape[:2]), atol=1e-4)
            assert not torch.allclose(mixed, torch.log_softmax(base, -1), atol=0.1)
            assert model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1] > inputs.input_ids.shape[1]
        zero = bank.attach(model, ["mlp", "knn"], weight=[0.0, 0.0])(**inputs).logits
        skipping = bank.attach(model, "knn", skip=1e-6)(**inputs).logits
    assert torch.equal(zero, base)
    assert torch.allclose(skipping, torch.log_softmax(base, -1), atol=1e-5)


def test_several_are_tuned_together_on_validation_rows(with_decoder):
    names = ["mlp", "knn", "decoder"]
    assert [info.name for info in with_decoder.memories()] == ["mlp", "decoder", "knn"]
    weights = with_decoder.tune(names)
    assert list(weights) == names and 0 < sum(weights.values()) <= 1
    rows = held_out(with_decoder)
    alone = with_decoder.tune(["knn"])["knn"]
    assert alone == pytest.approx(best_weight(rows.base, datastore.label_log_prob(rows))[0], abs=0.05)


def test_a_decoder_of_a_bank_is_attached(with_decoder, loaded, model):
    memory = with_decoder.memory("decoder")
    decoder = memory.module
    assert isinstance(decoder, MemoryDecoder) and memory.info.kind == "decoder"
    inputs = loaded[1]("The table of a column", return_tensors="pt")
    with torch.inference_mode():
        logits = with_decoder.attach(model, "decoder", weight=1.0)(**inputs).logits
        assert torch.allclose(logits[..., decoder.tokens], decoder(inputs.input_ids), atol=1e-5)


def test_names_and_weights_that_do_not_fit_are_told(bank, model):
    for arguments, sentence in (
        (("mlp", [0.1, 0.2]), "1 memories and 2 weights"),
        ((["mlp", "knn"], 0.3), "2 memories and 1 weights"),
        (({"mlp": 0.3}, 0.3), "come with their weights"),
        ((["mlp", "mlp"], None), "attached once"),
        (([], None), "at least one"),
        (({"mlp": 0.3, "knn": None}, None), "a weight between 0 and 1"),
        (({"mlp": 0.7, "knn": 0.7}, None), "sum to more than 1"),
    ):
        with pytest.raises(ModelError, match=sentence):
            bank.attach(model, *arguments)
    with pytest.raises(BankError, match="no memory 'other'"):
        bank.attach(model, ["mlp", "other"], [0.1, 0.1])


def test_the_retriever_knows_its_model_without_a_trained_memory(bank, recipe, tmp_path):
    """Then the model that the recipe names is read, if it is still the one that the keys are of."""
    alone = with_datasets(bank, "memories")
    assert [info.name for info in alone.memories()] == ["knn"] and alone.memories()[0].lock == {}
    expected = languagemodel.lock(*languagemodel.load(recipe["language_model"], "float32"))
    assert datastore.lock(alone.view) == expected == datastore.lock(bank.view)
    other, _ = languagemodel.load(save_tiny_model(tmp_path / "other", seed=7), "float32")
    for opened in (alone, bank):
        with pytest.raises(ModelError, match="other weights"):
            opened.attach(other, "knn")
    settings = {**bank.release.recipe, "language_model": str(tmp_path / "other")}
    renamed = Bank(bank.store, replace(alone.release, recipe=settings))
    with pytest.raises(ModelError, match=r"not the one that this bank was built with.*build the bank again"):
        renamed.attach(other, "knn")


def test_a_bank_without_a_language_model_has_no_memory(bank):
    nothing = with_datasets(bank, "memories", "datastore")
    assert nothing.memories() == []
    with pytest.raises(BankError, match="has no parametric memory"):
        nothing.memory("knn")


def test_the_lock_of_a_trained_memory_knows_what_its_model_computes(bank, loaded):
    """It stands in the record of the row: the column `lock`, which a digest covers, is that of banks of before."""
    rows = bank.table("memories", ["lock", "record"], "final = true").to_pylist()
    for row in rows:
        assert "function" not in json.loads(row["lock"])
        assert json.loads(row["record"])["found"]["function"] == languagemodel.lock(loaded[0])["function"]
    assert all(info.lock == languagemodel.lock(*loaded) for info in bank.memories())


def test_a_model_with_the_memories_of_a_bank_is_pickled(bank, model):
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        expected = bank.attach(model, ["mlp", "knn"], [0.3, 0.4])(input_ids=ids).logits
        assert torch.equal(pickle.loads(pickle.dumps(model))(input_ids=ids).logits, expected)
    memory = bank.memory("knn")
    size = len(memory.module)
    again = pickle.loads(pickle.dumps(memory))
    assert "module" not in vars(again) and len(again.module) == size


@pytest.mark.parametrize("name", ["neighbours", "probes", "temperature"])
@pytest.mark.parametrize("value", [-1, 0, "5", True, None, math.nan, 10**30])
def test_a_search_that_cannot_be_is_told(bank, name, value):
    config = {**bank.memory_info("knn").config, name: value}
    if name == "temperature" and value == 10**30:
        return  # nearly the same share for each neighbour
    with pytest.raises(ModelError, match=f"cannot have {name} .* build the bank again"):
        datastore.load(bank.view, config)


def test_tokens_that_the_model_does_not_have_are_told(bank, model):
    memory = bank.memory("mlp").module
    memory.tokens = memory.tokens + 320
    with pytest.raises(ModelError, match="and the model has 320"):
        Host.of(model).mix(memory, 0.5)
