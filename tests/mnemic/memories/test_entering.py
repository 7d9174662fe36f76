"""Memories of a bank in a model: for the length of a block, in the place of others, and not where they do not fit."""

from __future__ import annotations

import copy

import pytest
import torch

from mnemic import languagemodel
from mnemic.attach import Host, Unrolling, attach, detach
from mnemic.errors import ModelError


@pytest.fixture(scope="module")
def bank(tiny):
    return tiny.open()


@pytest.fixture(scope="module")
def loaded(bank):
    return languagemodel.load(bank.release.recipe["language_model"], "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    detach(loaded[0])


@pytest.fixture
def logits(loaded):
    inputs = loaded[1]("The table of a column", return_tensors="pt")

    def run(model):
        with torch.inference_mode():
            return model(**inputs).logits

    return run


def test_memories_are_attached_for_the_length_of_a_block(bank, model, loaded, logits):
    base = logits(model)
    with bank.attached(model, ["mlp", "knn"], tokenizer=loaded[1]) as lm:
        assert lm is model
        inside = logits(lm)
        assert not torch.equal(inside, base)
    assert torch.equal(logits(model), base) and not Host.hosts(model)
    assert torch.equal(logits(bank.attach(model, ["mlp", "knn"])), inside), "attach does the same"


def test_a_block_that_fails_leaves_the_model_as_it_was(bank, model, logits):
    base, generate = logits(model), model.generate
    with pytest.raises(RuntimeError, match="in the block"), bank.attached(model, {"knn": Unrolling(0.5)}) as lm:
        assert not torch.equal(logits(lm), base)
        raise RuntimeError("in the block")
    assert torch.equal(logits(model), base) and not Host.hosts(model) and model.generate == generate


def test_attaching_again_replaces_the_memories_and_nothing_else(bank, model, logits):
    base = logits(model)
    entry = Host.of(model).beside(0, lambda hidden: torch.full_like(hidden, 0.5))
    shifted = logits(model)
    assert not torch.equal(shifted, base)
    with bank.attached(model, "mlp", 0.3):
        mlp = logits(model)
        knn = logits(bank.attach(model, "knn", 0.4))
        assert not torch.equal(mlp, knn)
        assert torch.equal(logits(bank.attach(model, "mlp", 0.3)), mlp)
        memory = bank.memory("mlp")
        lock, layer = memory.info.lock, memory.info.config["student_layer"]
        assert torch.equal(logits(attach(model, memory.module, 0.3, lock, layer)), mlp)
        assert torch.equal(logits(bank.attach(model, "knn", 0.4)), knn)
    assert torch.equal(logits(model), shifted), "what else has entered the model stays"
    entry.close()
    assert torch.equal(logits(model), base)


def test_a_refusal_leaves_the_memories_that_were_there(bank, model, logits):
    mixed = logits(bank.attach(model, "mlp", 0.3, skip=0.99))
    for names, weights, skip, sentence in (
        (["mlp", "knn"], [0.7, 0.7], None, "sum to more than 1"),
        ("mlp", 1.5, None, "between 0 and 1"),
        ("mlp", 0.5, 2.0, "skip is a probability"),
    ):
        with pytest.raises(ModelError, match=sentence):
            bank.attach(model, names, weights, skip=skip)
        with pytest.raises(ModelError, match=sentence), bank.attached(model, names, weights, skip=skip):
            pytest.fail("the block is not entered")
        assert torch.equal(logits(model), mixed) and Host.of(model).skip == 0.99


def test_a_model_that_is_refused_keeps_no_trace(bank, loaded):
    other = copy.deepcopy(loaded[0])
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    with pytest.raises(ModelError, match="other weights"):
        bank.attach(other)
    assert not Host.hosts(other)
    with pytest.raises(ModelError, match="loaded transformers causal model, not to str"):
        bank.attach("a model")


def test_a_copy_of_a_model_keeps_its_memories_to_itself(bank, model, logits):
    mixed = logits(bank.attach(model, "mlp", 0.3))
    twin = copy.deepcopy(model)
    replaced = logits(bank.attach(twin, "knn", 0.4))
    assert torch.equal(logits(model), mixed) and not torch.equal(replaced, mixed)
    detach(model)
    assert torch.equal(logits(bank.attach(model, "knn", 0.4)), replaced)
