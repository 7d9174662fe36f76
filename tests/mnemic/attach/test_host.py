"""One model that memories enter at four places: what leaves it as it is, what combines, and what is restored."""

from __future__ import annotations

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from widened import concatenated

from mnemic import languagemodel
from mnemic.attach import Entries, Entry, Host, Unrolling, attach, attached, detach, read_prefix
from mnemic.attach.feedforward import Projections
from mnemic.errors import ModelError
from mnemic.memories.mlp import MemoryConfig, MLPMemory

KNOWN = torch.tensor([3, 17, 60, 61, 200, 319])
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}
PLACES = ("output", "feed-forward", "cache", "prompt")


def memory() -> MLPMemory:
    torch.manual_seed(7)
    module = MLPMemory(MemoryConfig(32, 32, len(KNOWN), blocks=2), KNOWN)
    for block in module.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.2)
    return module.eval()


def rows(host: Host, seed: int = 1) -> list[Any]:
    """Up, gate and down rows that fit the model's layers."""
    draw = torch.Generator().manual_seed(seed)
    gated = Projections.of(host.blocks[0]).gate is not None
    up, gate, down = (torch.randn(5, 32, generator=draw) * 0.3 for _ in range(3))
    return [up, gate if gated else None, down]


def nothing(host: Host, place: str) -> Entry:
    """What enters at a place and leaves the model as it is."""
    if place == "output":
        return host.mix(memory(), 0.0, layer=1)
    if place == "feed-forward":
        up, gate, down = rows(host)
        return host.widen(2, up, gate, torch.zeros_like(down))
    if place == "cache":
        heads = read_prefix(host.model, torch.tensor([[1]])).keys[0].shape[1]
        empty = [torch.zeros(1, heads, 0, 8)] * len(host.blocks)
        return host.prefix(empty, empty)
    return host.context(lambda ids: [])


def something(host: Host, place: str, text: torch.Tensor) -> Entry:
    if place == "output":
        return host.mix(memory(), Unrolling(0.5, 0.1, 3), layer=1)
    if place == "feed-forward":
        return host.widen(2, *rows(host))
    if place == "cache":
        prefix = read_prefix(host.model, text)
        return host.prefix(prefix.keys, prefix.values)
    return host.context(lambda ids: text[0, :3])


def answers(model: Any, prompts: torch.Tensor) -> list[torch.Tensor]:
    """Logits and ids of passes of every kind."""
    padded = torch.nn.functional.pad(prompts, (2, 0))
    mask = torch.ones_like(padded)
    mask[0, :2] = 0
    plain = {"attention_mask": torch.ones_like(prompts), **GREEDY}
    with torch.inference_mode():
        outputs = [model(input_ids=prompts).logits, model(input_ids=padded, attention_mask=mask).logits]
        outputs += [model(input_ids=prompts, use_cache=False).logits]
        begun = model(input_ids=prompts[:, :4])
        outputs += [model(input_ids=prompts[:, 4:], past_key_values=begun.past_key_values).logits]
        outputs += [model.generate(prompts, use_cache=cache, **plain) for cache in (True, False)]
        outputs += [model.generate(padded, attention_mask=mask, **GREEDY)]
        outputs += [model.generate(prompts, num_beams=3, num_return_sequences=2, **plain)]
        scored = model.generate(prompts, output_scores=True, return_dict_in_generate=True, **plain)
    return [*outputs, scored.sequences, *scored.scores]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nothing_leaves_the_model_as_it_is_bit_for_bit(
    family: tuple[Any, Any], prompts: torch.Tensor, dtype: torch.dtype
) -> None:
    model = copy.deepcopy(family[0])
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    bare, host = answers(model, prompts), Host.of(model)
    for chosen in [*((place,) for place in PLACES), PLACES]:
        entries = [nothing(host, place) for place in chosen]
        assert all(map(torch.equal, answers(model, prompts), bare)), chosen
        for entry in entries:
            entry.close()
    host.close()


@pytest.mark.parametrize("place", PLACES)
def test_something_changes_the_answers(host: Host, prompts: torch.Tensor, text: torch.Tensor, place: str) -> None:
    bare = answers(host.model, prompts)
    with something(host, place, text):
        changed = answers(host.model, prompts)
    assert any(not torch.equal(one, other) for one, other in zip(changed, bare, strict=True))
    assert all(map(torch.equal, answers(host.model, prompts), bare))


def test_entries_close_in_any_order_and_the_model_is_as_it_was(host: Host, text: torch.Tensor) -> None:
    host.close()
    model, attributes = host.model, set(vars(host.model))
    for order in itertools.permutations(range(4)):
        entries = [something(host, place, text) for place in PLACES]
        assert "generate" in vars(model)
        for number in order:
            entries[number].close()
            entries[number].close()  # again does nothing
        assert host.idle and not model._forward_hooks and not model._forward_pre_hooks
        assert all(not block.mlp._forward_hooks and not block.mlp._forward_pre_hooks for block in host.blocks)
    Entries([something(host, place, text) for place in PLACES]).close()
    assert host.idle and Host.of(model) is host
    for place in PLACES:
        something(host, place, text)
    host.close()
    assert host.idle and set(vars(model)) == attributes
    with something(Host.of(model), "feed-forward", text), pytest.raises(ModelError, match="has another by now"):
        something(host, "feed-forward", text)
    Host.of(model).close()


def test_a_generate_of_the_callers_own_is_used_and_comes_back(
    family: tuple[Any, Any], prompts: torch.Tensor, text: torch.Tensor
) -> None:
    model, lengths = copy.deepcopy(family[0]), []

    def own(*args: Any, **kwargs: Any) -> Any:
        lengths.append(kwargs.get("input_ids", args[0] if args else None).shape[1])
        return type(model).generate(model, *args, **{**kwargs, "max_new_tokens": 2})

    model.generate = own
    host = Host.of(model)
    something(host, "prompt", text)
    something(host, "output", text)
    answer = model.generate(prompts, attention_mask=torch.ones_like(prompts), **GREEDY)
    assert answer.shape[1] == prompts.shape[1] + 2 and lengths == [prompts.shape[1] + 3]
    host.close()
    assert model.generate is own


@pytest.mark.parametrize("order", [("cache", "output", "prompt"), ("prompt", "output", "cache")])
def test_all_four_places_at_once(
    family: tuple[Any, Any], prompts: torch.Tensor, text: torch.Tensor, order: tuple[str, ...]
) -> None:
    """As by hand: wider matrices, one text, and the mixture at the output."""
    model = copy.deepcopy(family[0]).double()
    wide = concatenated(copy.deepcopy(model), 2, rows(Host.of(model)))
    before = torch.cat([text, text[:, :3]], dim=1).expand(2, -1)
    whole = torch.cat([before, prompts], dim=1)
    options = {**GREEDY, "output_logits": True, "return_dict_in_generate": True}
    attach(wide, memory(), Unrolling(0.5, 0.1, 3), languagemodel.lock(wide), 1)
    expected = wide.generate(whole, attention_mask=torch.ones_like(whole), **options)
    host = Host.of(model)
    something(host, "feed-forward", text)  # the prefix is read with it
    for place in order:
        something(host, place, text)
    answer = model.generate(prompts, attention_mask=torch.ones_like(prompts), **options)
    assert torch.equal(answer.sequences[:, : prompts.shape[1]], prompts)
    assert torch.equal(answer.sequences[:, prompts.shape[1] :], expected.sequences[:, whole.shape[1] :])
    for logits, others in zip(answer.logits, expected.logits, strict=True):
        torch.testing.assert_close(logits, others, atol=1e-5, rtol=0.0)


def test_a_copy_of_the_model_answers_on_its_own(
    family: tuple[Any, Any], prompts: torch.Tensor, text: torch.Tensor
) -> None:
    model = copy.deepcopy(family[0])
    host = Host.of(model)
    bare = answers(model, prompts)
    for place in PLACES:
        something(host, place, text)
    changed, other = answers(model, prompts), copy.deepcopy(model)
    host.close()
    assert all(map(torch.equal, answers(other, prompts), changed))
    assert all(map(torch.equal, answers(model, prompts), bare))
    assert all(map(torch.equal, answers(detach(other), prompts), bare))


def test_threads_share_a_model_that_memories_entered(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    for place in PLACES:
        something(host, place, text)
    up, gate, down = rows(host, 5)
    own = [None if part is None else part.expand(2, -1, -1) for part in (up, gate, down)]
    host.widen(1, *own, groups=lambda prompt: [int(row.sum()) % 3 - 1 for row in prompt.rows()])

    def answer(length: int) -> torch.Tensor:
        part = prompts[:, :length]
        return host.model.generate(part, attention_mask=torch.ones_like(part), **GREEDY)

    lengths = [2 + number % 5 for number in range(10)]
    expected = [answer(length) for length in lengths]
    with ThreadPoolExecutor(3) as pool:
        assert all(map(torch.equal, pool.map(answer, lengths), expected))


def test_attached_for_a_while(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    host.close()
    model, lock = host.model, languagemodel.lock(host.model)
    bare = answers(model, prompts)
    with attached(model, memory(), 0.5, lock, 1) as lm:
        assert lm is model and not torch.equal(answers(lm, prompts)[0], bare[0])
    assert all(map(torch.equal, answers(model, prompts), bare)) and not Host.hosts(model)
    entry = something(Host.of(model), "feed-forward", text)
    widened = answers(model, prompts)
    with pytest.raises(ZeroDivisionError), attached(model, memory(), 0.5, lock, 1):
        1 / 0  # noqa: B018
    assert all(map(torch.equal, answers(model, prompts), widened)), "what others entered stays"
    attach(model, memory(), 0.5, lock, 1)
    entry.close()
    detach(model)
    assert all(map(torch.equal, answers(model, prompts), bare)) and not Host.hosts(model)


def test_a_tap_keeps_what_a_layer_reads(host: Host, prompts: torch.Tensor) -> None:
    with host.tap(1) as tap, languagemodel.capture(host.model, [1]) as taps:
        assert tap.hidden is None
        host.model(input_ids=prompts)
        assert torch.equal(tap.hidden, taps[1])
    assert host.idle


def test_what_cannot_enter_is_told(host: Host) -> None:
    with pytest.raises(ModelError, match=r"Linear does not say what it reads.*attribute `reads`"):
        host.mix(torch.nn.Linear(2, 2), 0.5)
    with pytest.raises(ModelError, match="no block 4"):
        host.widen(4, *rows(host))
    with pytest.raises(ModelError, match=r"sum to more than 1 \(0.6 \+ 0.6\)"), host.mix(memory(), 0.6, layer=1):
        host.mix(memory(), 0.6, layer=1)
    with pytest.raises(ModelError, match="attached to a loaded transformers causal model"):
        Host.of(torch.nn.Linear(2, 2))
    with pytest.raises(ModelError, match=r"such as 0\.9"):
        host.skip = 2.0
    assert host.idle
