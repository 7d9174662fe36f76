"""Attached models, caches and banks that are pickled and copied, and a `generate` of the caller's own."""

from __future__ import annotations

import copy
import functools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.attach import Host, Unrolling, attach, detach
from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder
from mnemic.memories.mlp import MemoryConfig, MLPMemory

KNOWN = torch.tensor([3, 17, 60])
GREEDY = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def through_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3_text"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, torch.Tensor]:
    model, tokenizer = languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")
    return model, torch.tensor([tokenizer(SENTENCES[0])["input_ids"][:8]])


def memories() -> list[Any]:
    torch.manual_seed(4)
    config = DecoderConfig(320, 32, 3, blocks=2, inner=64, heads=4, key_value_heads=2, head_width=8)
    return [MLPMemory(MemoryConfig(32, 32, 3), KNOWN).eval(), MemoryDecoder(config, KNOWN).eval()]


@COPIES
@pytest.mark.parametrize("weights", [[0.3, 0.4], [Unrolling(0.6, 0.0, 4), 0.3]], ids=["constant", "schedule"])
def test_an_attached_model_is_copied_with_its_memories(loaded: Any, copied: Any, weights: list[Any]) -> None:
    model, ids = loaded
    attach(model, memories(), weights, languagemodel.lock(model))
    expected = model.generate(ids, **GREEDY)
    other = copied(model)
    bare = detach(model).generate(ids, **GREEDY)
    assert torch.equal(other.generate(ids, **GREEDY), expected)
    assert torch.equal(detach(other).generate(ids, **GREEDY), bare)
    assert "generate" not in vars(other) and not other._forward_hooks


@COPIES
def test_a_cache_with_the_layers_of_a_decoder_goes_on_from_where_it_was(loaded: Any, copied: Any) -> None:
    model, ids = loaded
    attach(model, memories(), [0.3, 0.4], languagemodel.lock(model))
    with torch.inference_mode():
        cache = model(input_ids=ids[:, :5]).past_key_values
        other = copied(cache)
        expected = model(input_ids=ids[:, 5:], past_key_values=cache).logits
        assert torch.equal(model(input_ids=ids[:, 5:], past_key_values=other).logits, expected)
        unread = copied(model(input_ids=ids[:, :5]).past_key_values)
        attach(model, memories(), [0.3, 0.4], languagemodel.lock(model))
        with pytest.raises(ModelError, match="of which the memory has read 0"):
            model(input_ids=ids[:, 5:], past_key_values=unread)
    detach(model)


def shortened(model: Any, *args: Any, **kwargs: Any) -> Any:
    return type(model).generate(model, *args, **{**kwargs, "max_new_tokens": 3})


@pytest.mark.parametrize("place", ["schedule", "context", "constant"])
def test_a_generate_of_the_callers_own_is_called_and_stays(loaded: Any, place: str) -> None:
    model, ids = loaded
    own = model.generate = functools.partial(shortened, model)
    assert model.generate(ids, **GREEDY).shape[1] == 11
    if place == "context":
        Host.of(model).context(lambda row: [5, 6])
    else:
        attach(model, memories()[0], Unrolling() if place == "schedule" else 0.5, languagemodel.lock(model))
    assert model.generate(ids, **GREEDY).shape[1] == 11
    assert through_pickle(model).generate(ids, **GREEDY).shape[1] == 11 if place != "context" else True
    detach(model)
    assert model.generate is own
    del model.generate


def test_a_generate_that_is_set_while_memories_are_attached_stays_too(loaded: Any) -> None:
    model, ids = loaded
    attach(model, memories()[0], Unrolling(), languagemodel.lock(model))
    own = model.generate = functools.partial(shortened, model)
    detach(model)
    assert model.generate is own and model.generate(ids, **GREEDY).shape[1] == 11
    del model.generate


def test_numbers_of_prefixes_and_decoders_are_those_of_no_other_process(loaded: Any, tmp_path: Path) -> None:
    model, _ = loaded
    attach(model, memories(), [0.3, 0.4], languagemodel.lock(model))
    names = {entry.reader.name for entry in Host.of(model).mixture.entries}
    detach(model)
    assert len(names) == 2 and all(len(name) > 32 for name in names)
