from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach import attach, detach, keep
from mnemic.errors import ModelError
from mnemic.memories.mlp import MemoryConfig, MLPMemory

LAYER = 2
KNOWN = torch.tensor([3, 17, 60, 61, 200, 319])


@pytest.fixture(scope="module")
def memory() -> MLPMemory:
    torch.manual_seed(7)
    module = MLPMemory(MemoryConfig(32, 32, len(KNOWN), blocks=2), KNOWN)
    for block in module.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.2)
    return module.eval()


def mixture(model: Any, memory: MLPMemory, ids: torch.Tensor, weight: float) -> torch.Tensor:
    """The definition, dense and in float64, from a model without a memory."""
    with torch.inference_mode(), languagemodel.capture(model, [LAYER]) as taps:
        base = model(input_ids=ids).logits.double().softmax(-1)
        probabilities = memory.log_probs(taps[LAYER]).double().exp()
    dense = torch.zeros_like(base)
    dense[..., memory.tokens] = probabilities
    return ((1 - weight) * base + weight * dense).log()


def put(model: Any, memory: MLPMemory, weight: float) -> Any:
    return attach(model, memory, weight, languagemodel.lock(model), LAYER)


@pytest.mark.parametrize("weight", [0.3, 0.95])
def test_logits_are_the_log_probabilities_of_the_mixture(
    model: Any, memory: MLPMemory, ids: torch.Tensor, weight: float
) -> None:
    expected = mixture(model, memory, ids, weight)
    with torch.inference_mode():
        logits = put(model, memory, weight)(input_ids=ids).logits
    assert logits.dtype == torch.float32
    assert torch.allclose(logits.double(), expected, atol=1e-4)
    assert torch.allclose(logits.exp().sum(-1), torch.ones(ids.shape), atol=1e-5)


def test_weight_zero_is_the_base_bit_for_bit_and_weight_one_the_memory(
    model: Any, memory: MLPMemory, ids: torch.Tensor
) -> None:
    with torch.inference_mode():
        base = model(input_ids=ids).logits
        assert torch.equal(put(model, memory, 0.0)(input_ids=ids).logits, base)
        alone = put(model, memory, 1.0)(input_ids=ids).logits
        assert torch.equal(detach(model)(input_ids=ids).logits, base)
    unknown = torch.ones(320, dtype=torch.bool)
    unknown[KNOWN] = False
    assert torch.isinf(alone[..., unknown]).all()
    assert torch.allclose(alone[..., KNOWN].exp().sum(-1), torch.ones(ids.shape), atol=1e-5)


def test_attaching_twice_replaces(model: Any, memory: MLPMemory, ids: torch.Tensor) -> None:
    expected = mixture(model, memory, ids, 0.5)
    with torch.inference_mode():
        logits = put(put(model, memory, 0.9), memory, 0.5)(input_ids=ids).logits
    assert torch.allclose(logits.double(), expected, atol=1e-4)
    detach(model)
    detach(model)
    assert not model._forward_hooks and not languagemodel.blocks(model)[LAYER].mlp._forward_pre_hooks


def test_tuples_and_labels(model: Any, memory: MLPMemory, ids: torch.Tensor) -> None:
    put(model, memory, 0.4)
    with torch.inference_mode():
        whole = model(input_ids=ids, labels=ids)
        expected = -whole.logits[:, :-1].gather(2, ids[:, 1:, None]).mean()
        assert whole.loss.item() == pytest.approx(expected.item(), abs=1e-5)
        loss, logits, *_ = model(input_ids=ids, labels=ids, return_dict=False)
        assert torch.equal(loss, whole.loss) and torch.equal(logits, whole.logits)
        assert torch.equal(model(input_ids=ids, return_dict=False)[0], whole.logits)
        assert torch.equal(model(ids).logits, whole.logits)
        assert whole[1] is whole.logits, "reading the output by place gives the mixture too"


@pytest.mark.parametrize("positions", [1, 3, torch.tensor([0, 5]), torch.tensor([[0, 5], [2, 3]])], ids=str)
def test_logits_to_keep_picks_the_same_positions_of_the_tap(
    model: Any, memory: MLPMemory, ids: torch.Tensor, positions: int | torch.Tensor
) -> None:
    put(model, memory, 0.4)
    with torch.inference_mode():
        whole = model(input_ids=ids).logits
        logits = model(input_ids=ids, logits_to_keep=positions).logits
    assert torch.allclose(logits, keep(whole, positions), atol=1e-5)


def test_keep_of_a_mask_is_flat() -> None:
    hidden = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    assert torch.equal(keep(hidden, mask), torch.stack([hidden[0, 0], hidden[0, 2], hidden[1, 1]]))


def test_greedy_generation_with_a_cache_follows_the_mixture(model: Any, memory: MLPMemory, ids: torch.Tensor) -> None:
    expected = ids
    for _ in range(8):
        step = mixture(model, memory, expected, 0.6)[:, -1].argmax(-1, keepdim=True)
        expected = torch.cat([expected, step], 1)
    put(model, memory, 0.6)
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    for cache in (True, False):
        assert torch.equal(model.generate(ids, use_cache=cache, **options), expected)


def test_sampling_at_weight_one_says_only_what_the_memory_knows(
    model: Any, memory: MLPMemory, ids: torch.Tensor
) -> None:
    put(model, memory, 1.0)
    torch.manual_seed(0)
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 10, "eos_token_id": None}
    tokens = model.generate(ids, do_sample=True, num_return_sequences=3, **options)[:, ids.shape[1] :]
    assert tokens.shape == (6, 10) and torch.isin(tokens, KNOWN).all() and tokens.unique().numel() > 1


def test_the_memory_is_not_saved_with_the_model(model: Any, memory: MLPMemory, tmp_path: Path) -> None:
    before = set(model.state_dict())
    put(model, memory, 0.5)
    assert set(model.state_dict()) == before
    assert sum(1 for module in model.modules() if isinstance(module, MLPMemory)) == 0
    model.save_pretrained(tmp_path)


def test_another_model_or_tokenizer_is_refused_with_a_sentence(
    loaded: tuple[Any, Any], memory: MLPMemory, tmp_path: Path
) -> None:
    model, tokenizer = loaded
    lock = languagemodel.lock(model, tokenizer)
    other, other_tokenizer = languagemodel.load(save_tiny_model(tmp_path, seed=5), "float32")
    with pytest.raises(ModelError, match=r"other weights.*build a memory for this one"):
        attach(other, memory, 0.5, lock, LAYER)
    other_tokenizer.add_tokens(["<new>"])
    with pytest.raises(ModelError, match="its tokenizer is another one"):
        attach(model, memory, 0.5, lock, LAYER, tokenizer=other_tokenizer)
    with pytest.raises(ModelError, match="no block 4"):
        attach(model, memory, 0.5, lock, 4, tokenizer=tokenizer)
    with pytest.raises(ModelError, match="between 0 and 1"):
        attach(model, memory, 1.1, lock, LAYER)
    assert not model._forward_hooks
    detach(attach(model, memory, 0.5, lock, LAYER, tokenizer=tokenizer))


def test_threads_share_an_attached_model(model: Any, memory: MLPMemory, ids: torch.Tensor) -> None:
    """Each forward pass mixes its own hidden state: a server answers requests of different length at once."""
    put(model, memory, 0.4)
    inputs = [ids[:, : 2 + number % 5] for number in range(32)]
    with torch.inference_mode():
        expected = [model(input_ids=part).logits for part in inputs]

    def answer(part: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=part).logits

    with ThreadPoolExecutor(4) as pool:
        for logits, alone in zip(pool.map(answer, inputs), expected, strict=True):
            torch.testing.assert_close(logits, alone)


def test_left_padded_batches_generate_what_each_prompt_generates_alone(
    model: Any, memory: MLPMemory, ids: torch.Tensor
) -> None:
    put(model, memory, 0.4)
    settings = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    prompts = [ids[0, :3], ids[0, :6]]
    alone = [model.generate(input_ids=prompt[None], **settings)[0, len(prompt) :] for prompt in prompts]
    padded = torch.stack([torch.nn.functional.pad(prompt, (6 - len(prompt), 0)) for prompt in prompts])
    mask = torch.tensor([[0] * 3 + [1] * 3, [1] * 6])
    together = model.generate(input_ids=padded, attention_mask=mask, **settings)[:, 6:]
    for one, row in zip(alone, together, strict=True):
        assert row[: len(one)].tolist() == one.tolist()


@pytest.mark.parametrize("wrong", [None, "package:some/model", torch.nn.Linear(2, 2)])
def test_what_is_no_causal_model_is_refused_with_a_sentence(wrong: Any, memory: MLPMemory) -> None:
    with pytest.raises(ModelError, match="attached to a loaded transformers causal model"):
        attach(wrong, memory, 0.5, {}, 0)
