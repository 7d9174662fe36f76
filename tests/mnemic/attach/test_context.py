"""Text before the prompt, against the caller's own concatenation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES
from transformers import GenerationConfig

from mnemic.attach import Host
from mnemic.errors import ModelError
from mnemic.memories.mlp import MemoryConfig, MLPMemory

GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 5}
KINDS = [
    {},
    {"use_cache": False},
    {"num_beams": 3, "num_return_sequences": 2},
    {"do_sample": True, "num_return_sequences": 3},
    {"repetition_penalty": 1.5},
    {"cache_implementation": "static", "disable_compile": True},
]


def generated(model: Any, ids: torch.Tensor, **options: Any) -> Any:
    torch.manual_seed(3)
    return model.generate(ids, **{"attention_mask": torch.ones_like(ids), **GREEDY, **options})


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_context_is_the_callers_own_concatenation(
    host: Host, prompts: torch.Tensor, text: torch.Tensor, options: dict[str, Any]
) -> None:
    whole = torch.cat([text.expand(2, -1), prompts], dim=1)
    expected = generated(host.model, whole, **options)[:, whole.shape[1] :]
    host.context(lambda ids: text[0, :3])
    host.context(lambda ids: text[0, 3:].tolist())
    answer = generated(host.model, prompts, **options)
    assert torch.equal(answer[:, : prompts.shape[1]], prompts.repeat_interleave(len(answer) // 2, 0))
    assert torch.equal(answer[:, prompts.shape[1] :], expected)
    scored = generated(host.model, prompts, return_dict_in_generate=True, output_scores=True, **options)
    assert torch.equal(scored.sequences, answer) and len(scored.scores) == 5
    positional = host.model.generate(prompts, GenerationConfig(**GREEDY), attention_mask=torch.ones_like(prompts))
    if not options:
        assert torch.equal(positional, answer)


def test_each_row_has_a_context_of_its_own(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    rows = [prompts[0], prompts[1, 5:]]
    contexts = {tuple(rows[0].tolist()): text[0, :2], tuple(rows[1].tolist()): text[0]}
    wholes = [torch.cat([contexts[tuple(row.tolist())], row])[None] for row in rows]
    expected = [generated(host.model, whole)[0, whole.shape[1] :] for whole in wholes]
    mask = torch.ones_like(prompts)
    mask[1, :5] = 0
    host.context(lambda ids: contexts[tuple(ids.tolist())])
    for cache in (True, False):
        answer = generated(host.model, prompts, attention_mask=mask, use_cache=cache)
        assert torch.equal(answer[:, :9], prompts) and torch.equal(answer[:, 9:], torch.stack(expected))
    padded = prompts.masked_fill(mask == 0, 319)
    options = {**GREEDY, "pad_token_id": 319}  # told by its id, as `generate` itself would
    assert torch.equal(host.model.generate(padded, **options)[:, 9:], torch.stack(expected))
    contexts[tuple(rows[0].tolist())] = text[0, :0]
    assert torch.equal(generated(host.model, prompts, attention_mask=mask)[1, 9:], expected[1])


def test_lengths_and_streams_are_those_of_the_callers_prompt(
    host: Host, prompts: torch.Tensor, text: torch.Tensor
) -> None:
    streamed: list[torch.Tensor] = []

    class Streamer:
        ended = False

        def put(self, value: torch.Tensor) -> None:
            streamed.append(value)

        def end(self) -> None:
            self.ended = True

    host.context(lambda ids: text[0])
    prompt, streamer = prompts[:1], Streamer()
    expected = generated(host.model, prompt, streamer=streamer)
    assert torch.equal(streamed[0], prompt) and streamer.ended
    assert torch.equal(torch.cat([part.flatten() for part in streamed]), expected[0])
    for limits in ({"max_length": 14}, {"generation_config": GenerationConfig(max_length=14, min_length=14)}):
        options = {name: value for name, value in GREEDY.items() if name != "max_new_tokens"}
        answer = host.model.generate(prompt, attention_mask=torch.ones_like(prompt), **options, **limits)
        assert torch.equal(answer, expected)


def test_a_context_of_text_begins_behind_the_token_that_texts_begin_with(family: tuple[Any, Any], host: Host) -> None:
    model, tokenizer = host.model, copy.deepcopy(family[1])
    tokenizer.bos_token = "<|end|>"  # id 0
    shown: list[str] = []

    def render(prompt: str) -> str:
        shown.append(prompt)
        return SENTENCES[3] + "\n"

    inner = tokenizer(SENTENCES[0], return_tensors="pt")["input_ids"]
    before = tokenizer(SENTENCES[3] + "\n", add_special_tokens=False, return_tensors="pt")["input_ids"]
    begun = torch.cat([torch.tensor([[0]]), inner], dim=1)
    expected = [torch.cat([before, inner], 1), torch.cat([torch.tensor([[0]]), before, inner], 1)]
    expected = [generated(model, whole)[:, whole.shape[1] :] for whole in expected]
    host.context(render, tokenizer=tokenizer)
    for ids, continued in zip((inner, begun), expected, strict=True):
        answer = generated(model, ids)
        assert torch.equal(answer[:, : ids.shape[1]], ids) and torch.equal(answer[:, ids.shape[1] :], continued)
    assert shown == [SENTENCES[0], SENTENCES[0]]


def test_a_schedule_counts_from_the_first_generated_token(
    host: Host, prompts: torch.Tensor, text: torch.Tensor
) -> None:
    counted: list[int] = []

    def schedule(positions: torch.Tensor) -> float:
        counted.append(int(positions.max()))
        return 0.0

    host.mix(MLPMemory(MemoryConfig(32, 32, 3), torch.tensor([3, 17, 60])), schedule)
    host.context(lambda ids: text[0])
    generated(host.model, prompts)
    assert counted == [0, 1, 2, 3, 4]


def test_what_nothing_can_stand_before_is_told(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    model = host.model
    cache = model(input_ids=prompts[:, :4]).past_key_values
    host.context(lambda ids: text[0])
    with pytest.raises(ModelError, match="call `generate` with `input_ids`"):
        model.generate(inputs_embeds=model.get_input_embeddings()(prompts), max_new_tokens=1)
    with pytest.raises(ModelError, match="holds its beginning already"):
        generated(model, prompts, past_key_values=cache)
    with pytest.raises(ModelError, match="without `position_ids`"):
        generated(model, prompts, position_ids=torch.arange(9)[None])
    with host.context(lambda ids: "text"), pytest.raises(ModelError, match="give `tokenizer`"):
        generated(model, prompts)
