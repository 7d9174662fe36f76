"""What needs a gradient where memories are mixed in: the model where it trains, a memory never."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.attach import Constant, Unrolling, attach, detach
from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder
from mnemic.memories.knn import KNNMemory
from mnemic.memories.mlp import MemoryConfig, MLPMemory

KNOWN = torch.tensor([3, 17, 60, 61, 200, 319])


def mlp() -> MLPMemory:
    torch.manual_seed(7)
    memory = MLPMemory(MemoryConfig(32, 32, len(KNOWN), blocks=1), KNOWN)
    torch.nn.init.normal_(memory.blocks[0].down.weight, std=0.2)
    return memory.eval()


def decoder() -> MemoryDecoder:
    torch.manual_seed(8)
    return MemoryDecoder(DecoderConfig(320, 32, 6, blocks=1, inner=48, heads=4, key_value_heads=2), KNOWN).eval()


def knn() -> KNNMemory:
    draw = torch.Generator().manual_seed(3)
    keys = torch.randn(200, 32, generator=draw).half()
    return KNNMemory(keys, torch.randint(0, 320, (200,), generator=draw), torch.zeros(200, dtype=torch.int64), 8.0, 16)


MEMORIES = {"mlp": mlp, "decoder": decoder, "knn": knn}


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture
def model(folder: str) -> Iterator[Any]:
    loaded, tokenizer = languagemodel.load(folder, "float32")
    loaded.ids = torch.tensor([tokenizer(SENTENCES[0])["input_ids"][:8]])
    yield loaded
    detach(loaded)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_frozen_model_has_logits_without_gradients(folder: str, name: str, dtype: str) -> None:
    model, tokenizer = languagemodel.load(folder, dtype)
    memory = MEMORIES[name]()
    attach(model, memory, 0.5, languagemodel.lock(model))
    ids = torch.tensor([tokenizer(SENTENCES[0])["input_ids"][:8]])
    output = model(input_ids=ids, labels=ids)
    assert not output.logits.requires_grad and not output.loss.requires_grad
    assert output.logits.numpy().shape == (1, 8, 320)
    if name != "knn":
        assert all(one.requires_grad for one in memory.head.parameters()), "the caller's own memory stays as it is"


@pytest.mark.parametrize("name", MEMORIES)
def test_a_model_that_trains_has_the_gradients_of_the_mixture(model: Any, name: str) -> None:
    memory = MEMORIES[name]()
    model.requires_grad_(True)

    def loss_of(probabilities: torch.Tensor) -> torch.Tensor:
        return -probabilities[:, :-1].gather(2, model.ids[:, 1:, None]).log().mean()

    with languagemodel.capture(model, [3]) as taps:
        base = model(input_ids=model.ids).logits.softmax(-1)
        hidden = taps[3].detach() if name == "knn" else taps[3]
        log_probs = memory(model.ids).detach() if name == "decoder" else memory.log_probs(hidden)
        dense = torch.zeros_like(base).index_copy(2, memory.tokens, log_probs.exp())
        loss_of(0.6 * base + 0.4 * dense).backward()
    expected = {key: one.grad.clone() for key, one in model.named_parameters()}
    model.zero_grad()
    if name != "knn":
        memory.zero_grad()
    attach(model, memory, 0.4, languagemodel.lock(model))
    loss_of(model(input_ids=model.ids).logits.exp()).backward()
    for key, one in model.named_parameters():
        torch.testing.assert_close(one.grad, expected[key], atol=1e-5, rtol=1e-3)
    assert name == "knn" or all(one.grad is None for one in memory.parameters())


@pytest.mark.parametrize(
    "weight",
    [np.float32(0.5), np.float16(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5).bfloat16()],
    ids=lambda one: type(one).__name__,
)
def test_numbers_of_numpy_and_torch_are_weights(model: Any, weight: Any) -> None:
    lock = languagemodel.lock(model)
    expected = attach(model, mlp(), 0.5, lock)(input_ids=model.ids).logits
    assert torch.equal(attach(model, mlp(), weight, lock)(input_ids=model.ids).logits, expected)
    assert torch.equal(attach(model, [mlp()], [weight], lock)(input_ids=model.ids).logits, expected)
    assert Constant(weight) == Constant(0.5) and Unrolling(weight, np.float32(0), np.int64(3)) == Unrolling(0.5, 0.0, 3)
    attach(model, mlp(), 0.5, lock, skip=weight)


@pytest.mark.parametrize(
    "weight", [True, np.bool_(True), torch.tensor(True), "0.5", None, np.array([0.5]), 1.5, np.nan]
)
def test_what_is_no_weight_is_told(model: Any, weight: Any) -> None:
    lock = languagemodel.lock(model)
    with pytest.raises(ModelError, match="between 0 and 1"):
        attach(model, mlp(), weight, lock)
    if weight is not None:
        with pytest.raises(ModelError, match="skip is a probability"):
            attach(model, mlp(), 0.5, lock, skip=weight)
