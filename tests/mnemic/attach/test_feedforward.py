"""Rows and paths beside a feed-forward layer, against matrices that were widened or changed by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from widened import concatenated

from mnemic import languagemodel
from mnemic.attach import Host, Prompt
from mnemic.attach.feedforward import Projections
from mnemic.errors import ModelError

GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 4}


def rows(host: Host, *shape: int, seed: int = 1) -> list[Any]:
    draw = torch.Generator().manual_seed(seed)
    gated = Projections.of(host.blocks[0]).gate is not None
    up, gate, down = (torch.randn(*shape, 32, generator=draw) * 0.5 for _ in range(3))
    return [up, gate if gated else None, down]


def picked(parts: list[Any], group: int) -> list[Any]:
    return [None if part is None else part[group] for part in parts]


def generated(model: Any, prompts: torch.Tensor, **options: Any) -> torch.Tensor:
    return model.generate(prompts, attention_mask=torch.ones_like(prompts), **{**GREEDY, **options})


def test_rows_are_those_of_a_wider_layer(family: tuple[Any, Any], prompts: torch.Tensor) -> None:
    model = copy.deepcopy(family[0]).double()
    host, wide = Host.of(model), copy.deepcopy(model)
    for layer, size in ((0, 3), (2, 11), (3, 1)):
        added = rows(host, size, seed=layer)
        host.widen(layer, *added)
        concatenated(wide, layer, added)
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=prompts).logits, wide(input_ids=prompts).logits, atol=1e-10, rtol=0)
    assert torch.equal(generated(model, prompts), generated(wide, prompts))


def test_rows_that_were_split_off_the_layer_give_it_back(family: tuple[Any, Any], prompts: torch.Tensor) -> None:
    model = copy.deepcopy(family[0]).double()
    with torch.no_grad():
        expected = model(input_ids=prompts).logits
    host = Host.of(model)
    parts = Projections.of(host.blocks[1])
    own = [None if part is None else part[40:].detach().clone() for part in parts.rows()]
    down = parts.down.weight.data
    (down if type(parts.down).__name__ == "Conv1D" else down.T)[40:] = 0.0
    with torch.no_grad():
        assert not torch.allclose(model(input_ids=prompts).logits, expected)
        bias = parts.up.bias
        if bias is not None:  # rows have none, so theirs is taken away before
            bias.data[40:] = 0.0
            reference = copy.deepcopy(model)
            back = Projections.of(languagemodel.blocks(reference)[1]).down.weight.data
            (back if type(parts.down).__name__ == "Conv1D" else back.T)[40:] = own[2]
            expected = Host.of(reference).model(input_ids=prompts).logits
        host.widen(1, *own)
        torch.testing.assert_close(model(input_ids=prompts).logits, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("groups", [None, [0, 1], torch.tensor([1, 0]), [1, 1], [-1, 0]], ids=str)
def test_each_row_of_a_batch_has_rows_of_its_own(host: Host, prompts: torch.Tensor, groups: Any) -> None:
    model, parts = host.model, rows(host, 2, 6)
    chosen = [0, 1] if groups is None else [int(group) for group in groups]
    alone, beams = [], []
    for row, group in enumerate(chosen):
        entry = None if group < 0 else host.widen(1, *picked(parts, group))
        prompt = prompts[row : row + 1]
        with torch.inference_mode():
            alone.append(model(input_ids=prompt).logits[0])
        beams.append(generated(model, prompt, num_beams=3, num_return_sequences=2))
        if entry is not None:
            entry.close()
    host.widen(1, *parts, groups=groups)
    with torch.inference_mode():
        torch.testing.assert_close(model(input_ids=prompts).logits, torch.stack(alone), atol=1e-5, rtol=0)
    for cache in (True, False):
        together = generated(model, prompts, num_beams=3, num_return_sequences=2, use_cache=cache)
        assert torch.equal(together, torch.cat(beams))


def test_groups_are_chosen_once_for_a_prompt(host: Host, prompts: torch.Tensor) -> None:
    model, parts = host.model, rows(host, 3, 6)
    prompted: list[list[int]] = []

    def choose(prompt: Prompt) -> list[int]:
        prompted.append([len(row) for row in prompt.rows()])
        return [int(row[-1]) % 3 for row in prompt.rows()]

    with host.widen(1, *parts, groups=[int(row[-1]) % 3 for row in prompts]):
        expected = generated(model, prompts)
        with torch.inference_mode():
            logits = model(input_ids=prompts).logits
    with host.widen(1, *parts, groups=choose):
        for cache in (True, False):
            assert torch.equal(generated(model, prompts, use_cache=cache), expected)
        padded = torch.nn.functional.pad(prompts, (3, 0))
        mask = torch.ones_like(padded)
        mask[:, :3] = 0
        answer = model.generate(padded, attention_mask=mask, **GREEDY)
        assert torch.equal(answer[:, 3:], expected)
        assert prompted == [[9, 9]] * 3
        with torch.inference_mode():
            begun = model(input_ids=prompts[:, :5])
            rest = model(input_ids=prompts[:, 5:], past_key_values=begun.past_key_values)
        assert prompted[3:] == [[5, 5]], "a cache goes on with what its beginning chose"
    same = [int(row[4]) % 3 for row in prompts] == [int(row[-1]) % 3 for row in prompts]
    assert same == torch.allclose(rest.logits, logits[:, 5:], atol=1e-5)


def test_rows_follow_the_model_to_another_dtype(family: tuple[Any, Any], prompts: torch.Tensor) -> None:
    model = copy.deepcopy(family[0])
    host = Host.of(model)
    host.widen(1, *rows(host, 6))
    with torch.no_grad():
        exact = model(input_ids=prompts).logits
        rough = model.to(torch.bfloat16)(input_ids=prompts).logits
        assert rough.dtype == torch.bfloat16 and torch.allclose(rough.float(), exact, atol=1.0)
    model.float()
    trained = [None if part is None else part.requires_grad_() for part in rows(host, 6, seed=4)]
    host.widen(2, *trained)
    model(input_ids=prompts, labels=prompts).loss.backward()
    assert all(part is None or part.grad.abs().sum() > 0 for part in trained), "rows can be trained in the model"


def test_a_path_beside_the_last_projection_changes_its_matrix(family: tuple[Any, Any], prompts: torch.Tensor) -> None:
    """An edit of rank 2, as knowledge edits are: y += (x A) B."""
    model = copy.deepcopy(family[0]).double()
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 2, generator=draw).double(), torch.randn(2, 32, generator=draw).double()
    host, edited = Host.of(model), copy.deepcopy(model)
    inner = Projections.of(host.blocks[1]).rows()[0].shape[0]
    a = a if inner == 64 else torch.randn(inner, 2, generator=draw).double()
    down = Projections.of(languagemodel.blocks(edited)[1]).down
    down.weight.data += a @ b if type(down).__name__ == "Conv1D" else (a @ b).T
    bare = [parameter.clone() for parameter in model.parameters()]
    with host.beside(1, lambda hidden: hidden @ a @ b, projection="down"), torch.no_grad():
        torch.testing.assert_close(model(input_ids=prompts).logits, edited(input_ids=prompts).logits, atol=1e-9, rtol=0)
    assert all(map(torch.equal, model.parameters(), bare))
    with host.tap(1) as tap, host.beside(1, lambda hidden: 0.5 * hidden), torch.no_grad():
        layer = host.blocks[1].mlp
        model(input_ids=prompts)
        torch.testing.assert_close(layer(tap.hidden), layer.forward(tap.hidden) + 0.5 * tap.hidden)


def test_rows_that_do_not_fit_are_refused_with_a_sentence(host: Host, prompts: torch.Tensor) -> None:
    up, gate, down = rows(host, 6)
    with pytest.raises(ModelError, match="have a gate; give its rows" if gate is not None else "no gate; give None"):
        host.widen(1, up, None if gate is not None else up, down)
    with pytest.raises(ModelError, match=r"are \[r, 32\].*\(6, 31\)"):
        host.widen(1, up, gate, down[:, :31])
    with pytest.raises(ModelError, match="leave them out"):
        host.widen(1, up, gate, down, groups=[0])
    parts = rows(host, 3, 6)
    with pytest.raises(ModelError, match=r"from -1 \(none\) to 2"):
        host.widen(1, *parts, groups=[3])
    with host.widen(1, *parts):
        with pytest.raises(ModelError, match="call the whole model"):
            host.blocks[1].mlp(torch.zeros(1, 2, 32))
        with pytest.raises(ModelError, match="for 3 rows of a batch, and this prompt has 2"):
            host.model(input_ids=prompts)
        with pytest.raises(ModelError, match="for 3 rows of a batch, and this prompt has 1"):
            generated(host.model, prompts[:1], num_beams=3)
    assert host.idle
