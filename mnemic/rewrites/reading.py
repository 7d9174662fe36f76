"""What the last projection of layers reads at some tokens, and what a block gives there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from mnemic.rewrites.prompts import AskedPrompt, batches

if TYPE_CHECKING:
    import torch


def down_of(model: Any, layer: int) -> Any:
    """The last projection of a layer's feed-forward part."""
    return Projections.of(languagemodel.blocks(model)[layer]).down


def shape_of(model: Any, layer: int) -> tuple[int, int]:
    """(inner, hidden): the numbers that the last projection of a layer reads and gives."""
    inner, hidden = Projections.of(languagemodel.blocks(model)[layer]).rows()[2].shape
    return int(inner), int(hidden)


@contextlib.contextmanager
def reading_keys(model: Any, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Within the block, every pass leaves what the last projections of ``layers`` read, [batch, positions, inner]."""
    keys: dict[int, torch.Tensor] = {}

    def tapped(layer: int) -> Any:
        def keep(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            keys[layer] = inputs[0]

        return down_of(model, layer).register_forward_pre_hook(keep)

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            hooks.callback(tapped(layer).remove)
        yield keys


@contextlib.contextmanager
def reading_states(model: Any, layer: int) -> Iterator[list[torch.Tensor]]:
    """Within the block, every pass leaves the output of block ``layer``, [batch, positions, hidden], in the list."""
    states: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        states[:] = [output[0] if isinstance(output, tuple) else output]

    hook = languagemodel.blocks(model)[layer].register_forward_hook(keep)
    try:
        yield states
    finally:
        hook.remove()


def hidden_of(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The normed output of the last layer, [b, t, hidden]: of the decoder alone, whatever enters the whole model."""
    device = languagemodel.output_embedding(model).device
    hidden: torch.Tensor = model.base_model(
        input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
    ).last_hidden_state
    return hidden


def at_subjects(model: Any, prompts: Sequence[AskedPrompt], layer: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(what the last projection of ``layer`` reads, what block ``last`` gives) at the subjects of ``prompts``.

    Float64 [n, inner] and [n, hidden], on the CPU.
    """
    import torch

    keys, states = list[torch.Tensor](), list[torch.Tensor]()
    with torch.inference_mode(), reading_keys(model, [layer]) as read, reading_states(model, last) as outputs:
        for some, ids, mask in batches(prompts):
            hidden_of(model, ids, mask)
            rows, places = torch.arange(len(some)), torch.tensor([prompts[one].place for one in some])
            keys.append(read[layer][rows, places].double().cpu())
            states.append(outputs[0][rows, places].double().cpu())
    return torch.cat(keys), torch.cat(states)
