from __future__ import annotations

import pytest
import torch

from mnemic.errors import ModelError
from mnemic.memories.mlp import MemoryConfig, MLPMemory


def make(**options: object) -> MLPMemory:
    torch.manual_seed(0)
    shape = {"inputs": 16, "width": 16, "tokens": 5} | options
    return MLPMemory(MemoryConfig(**shape), torch.tensor([2, 3, 10, 40, 41])).eval()  # type: ignore[arg-type]


def test_untrained_memory_reads_the_tap_with_the_models_norm_and_head() -> None:
    memory = make()
    scale, rows, hidden = torch.rand(16) + 0.5, torch.randn(5, 16), torch.randn(7, 16)
    memory.start_from(scale, None, rows)
    expected = (torch.nn.functional.rms_norm(hidden, (16,), scale, 1e-6) @ rows.T).log_softmax(-1)
    assert torch.allclose(memory.log_probs(hidden), expected, atol=1e-5)


def test_layer_norm_takes_the_bias_too() -> None:
    memory = make(norm="layer")
    scale, bias, rows, hidden = torch.rand(16) + 0.5, torch.randn(16), torch.randn(5, 16), torch.randn(7, 16)
    memory.start_from(scale, bias, rows)
    expected = (torch.nn.functional.layer_norm(hidden, (16,), scale, bias) @ rows.T).log_softmax(-1)
    assert torch.allclose(memory.log_probs(hidden), expected, atol=1e-5)


def test_token_log_prob_is_the_head_entry_or_minus_infinity() -> None:
    memory = make(blocks=2)
    hidden, token = torch.randn(6, 16), torch.tensor([41, 2, 4, 99, 10, 0])
    table, log_probs = memory.log_probs(hidden), memory.token_log_prob(hidden, token, chunk=4)
    assert log_probs[[0, 1, 4]].tolist() == pytest.approx([table[0, 4].item(), table[1, 0].item(), table[4, 2].item()])
    assert torch.isinf(log_probs[[2, 3, 5]]).all() and (log_probs[[2, 3, 5]] < 0).all()
    assert memory.token_log_prob(hidden[:0], token[:0]).shape == (0,)


def test_half_precision_vectors_of_any_shape_give_float32_probabilities_that_sum_to_one() -> None:
    log_probs = make(inputs=12).log_probs(torch.randn(2, 3, 12).half())
    assert log_probs.dtype == torch.float32 and log_probs.shape == (2, 3, 5)
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(2, 3), atol=1e-5)


def test_bytes_bring_the_same_memory_back() -> None:
    memory = make(inputs=12, blocks=3, norm="layer")
    torch.nn.init.normal_(memory.blocks[1].down.weight)
    data = memory.to_bytes()
    again = MLPMemory.from_bytes(data)
    hidden = torch.randn(4, 12)
    assert again.config == memory.config and torch.equal(again.tokens, memory.tokens)
    assert torch.equal(again.log_probs(hidden), memory.log_probs(hidden))
    assert again.to_bytes() == data and not again.training


def test_other_bytes_are_refused_with_a_sentence() -> None:
    data = make().to_bytes()
    for broken in (b"", b"\x80\x04pickle of something", data[:-8], data.replace(b"mnemic-mlp-1", b"mnemic-mlp-9")):
        with pytest.raises(ModelError, match="build the memory again"):
            MLPMemory.from_bytes(broken)


def test_a_head_needs_sorted_different_tokens() -> None:
    with pytest.raises(ModelError, match="ascending"):
        MLPMemory(MemoryConfig(4, 4, 3), torch.tensor([1, 1, 2]))
    with pytest.raises(ModelError, match="'rms' or 'layer'"):
        MLPMemory(MemoryConfig(4, 4, 3, norm="batch"))


@pytest.mark.parametrize("shape", [(32,), (1, 32), (1, 1, 32)])
def test_one_row_in_bfloat16_is_what_it_is_among_others(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    memory = MLPMemory(MemoryConfig(32, 32, 50, blocks=2))
    for block in memory.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.2)
    rows = torch.randn(3, 32).bfloat16()
    with torch.inference_mode():
        together = memory.bfloat16().log_probs(rows)
        alone = memory.log_probs(rows[1].view(shape))
    assert alone.shape == (*shape[:-1], 50)
    torch.testing.assert_close(alone.reshape(-1), together[1], atol=0.03, rtol=0.02)
