"""A decoder beside a model whose cache has a fixed size, whose masks `generate` prepares."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.attach import attach
from mnemic.attach.output.masks import padding_mask
from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder

WINDOW = 8
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt2": {},
    "gpt_neox": {},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {},
    "qwen3": {},
    "gemma": {},
    "gemma2": {"sliding_window": WINDOW},
    "gemma3_text": {"sliding_window": WINDOW},
}
GREEDY = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
STATIC = {"cache_implementation": "static", "disable_compile": True}


def decoder() -> MemoryDecoder:
    torch.manual_seed(8)
    config = DecoderConfig(320, 32, 6, blocks=2, inner=64, heads=4, key_value_heads=2, head_width=8)
    memory = MemoryDecoder(config, torch.tensor([3, 17, 60, 61, 200, 319]))
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return memory.eval()


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), request.param, **FAMILIES[request.param])
    loaded, tokenizer = languagemodel.load(folder, "float32")
    loaded.prompts = [torch.tensor([tokenizer(SENTENCES[i])["input_ids"][:12]]) for i in (0, 1)]
    return attach(loaded, decoder(), 0.5, languagemodel.lock(loaded))


def batch(model: Any, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = model.prompts[0], model.prompts[1][:, :7]
    padding = (5, 0) if left else (0, 5)
    ids = torch.cat([first, torch.nn.functional.pad(second, padding)])
    return ids, torch.cat([torch.ones_like(first), torch.nn.functional.pad(torch.ones_like(second), padding)])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_static_cache_generates_what_a_growing_one_does(model: Any, padded: bool, attention: str) -> None:
    if attention == "eager" or model._supports_sdpa:  # Gemma 2 has eager attention alone
        model.set_attn_implementation(attention)
    ids, mask = batch(model, left=True) if padded else (model.prompts[0], torch.ones_like(model.prompts[0]))
    expected = model.generate(ids, attention_mask=mask, **GREEDY)
    assert torch.equal(model.generate(ids, attention_mask=mask, **GREEDY, **STATIC), expected)
    if padded:
        alone = model.generate(model.prompts[1][:, :7], **GREEDY, **STATIC)
        assert torch.equal(alone[0, 7:], expected[1, 12:]), "padding is not read"


@pytest.mark.parametrize("left", [True, False])
def test_the_padding_is_read_out_of_a_prepared_mask(model: Any, left: bool) -> None:
    from transformers.masking_utils import create_masks_for_generate

    ids, mask = batch(model, left)
    config = model.config.get_text_config()
    empty = torch.empty(*ids.shape, 0)
    prepared = create_masks_for_generate(config, empty, mask, past_key_values=None, position_ids=None)
    window = getattr(config, "sliding_window", None)
    assert torch.equal(padding_mask(prepared, 0, ids.shape[1], window), mask)
    assert torch.equal(padding_mask(mask, 0, ids.shape[1], window), mask)


def test_a_mask_that_is_more_than_padding_is_refused_with_a_sentence() -> None:
    causal = torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    expected = torch.ones(1, 6, dtype=torch.int64)
    assert torch.equal(padding_mask(causal, 0, 6, None), expected)
    assert torch.equal(padding_mask({"full_attention": causal}, 0, 6, 3), expected)
    assert padding_mask({"full_attention": None}, 0, 6, None) is None
    two_texts = causal.clone()
    two_texts[:, :, 3:, :3] = False
    everything = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    for wrong in (two_texts, everything, {"sliding_attention": two_texts}, causal[0, 0, 0], "a mask"):
        with pytest.raises(ModelError, match="or one prepared from it"):
            padding_mask(wrong, 0, 6, 3)
