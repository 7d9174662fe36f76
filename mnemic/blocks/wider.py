"""A model with blocks merged into its own feed-forward matrices: a plain checkpoint, for engines that know no memory.

Blocks are further rows of up, gate and down, so the wider layer computes the same sum in another order. All layers of a
transformers model have one inner width; layers with fewer rows are padded with zeros, which add nothing. A change of
the matrices is added to them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

_OF_FILES = ("hf_quantizer", "quantization_method", "is_quantized")
"""Attributes of a model that say in which form its file had the weights."""

_WIDTHS = ("intermediate_size", "n_inner")


def save_wider(
    model: Any,
    blocks: Sequence[torch.Tensor],
    layers: Sequence[int],
    folder: Path,
    weight: float = 1.0,
    change: torch.Tensor | None = None,
) -> None:
    """Save ``model`` with ``blocks``, [layers, parts, rows, hidden] each, merged into ``layers``, to ``folder``.

    ``change``, [layers, parts, inner, hidden], is added to the layers' own matrices. ``weight`` scales both. The model
    itself stays. Raises `ModelError` for one whose config has no inner width.
    """
    rows = {layer: [block[number] for block in blocks] for number, layer in enumerate(layers)}
    config, inner = _wider_config(model, sum(block.shape[2] for block in blocks))
    saver = copy.copy(model)  # its parts are the model's; only its config is its own
    own = {name: value for name, value in vars(model).items() if name not in _OF_FILES}
    saver.__dict__ = {**own, "config": config}
    changes = {} if change is None else dict(zip(layers, change, strict=True))
    state = _wider_state(model, rows, changes, inner, weight)
    saver.save_pretrained(str(folder), state_dict=state, save_original_format=False)


def _wider_config(model: Any, added: int) -> tuple[Any, int]:
    """The config with ``added`` to its inner width, and that width."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    name = next((name for name in _WIDTHS if hasattr(text, name)), None)
    if name is None:
        raise ModelError(
            f"The config of {type(model).__name__} states no inner width of its feed-forward layers, so blocks cannot "
            "be merged into it; attach the memory instead."
        )
    inner = Projections.of(languagemodel.blocks(model)[0]).rows()[0].shape[0] + added
    setattr(text, name, inner)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # of the file that the weights were read from; here they are plain numbers
    return config, inner


def _wider_state(
    model: Any,
    rows: Mapping[int, Sequence[torch.Tensor]],
    changes: Mapping[int, torch.Tensor],
    inner: int,
    weight: float,
) -> dict[str, torch.Tensor]:
    import torch

    names = {id(module): name for name, module in model.named_modules()}
    state = dict(model.state_dict())
    for layer, block in enumerate(languagemodel.blocks(model)):
        projections = Projections.of(block)
        own = projections.rows()
        sides = (
            [projections.up, projections.down]
            if own[1] is None
            else [projections.up, projections.gate, projections.down]
        )
        for part, (module, matrix) in enumerate(zip(sides, [one for one in own if one is not None], strict=True)):
            scale = weight if module is projections.down else 1.0
            added = [
                (one[part].to(matrix.device, torch.float64) * scale).to(matrix.dtype) for one in rows.get(layer, ())
            ]
            base = matrix
            if layer in changes:
                change = changes[layer][part].to(matrix.device, torch.float64) * weight
                base = (matrix.double() + change).to(matrix.dtype)
            whole = torch.cat([base, *added])
            whole = torch.cat([whole, whole.new_zeros(inner - len(whole), whole.shape[1])])
            downwards = module is projections.down
            turned = type(module).__name__ == "Conv1D"
            state[f"{names[id(module)]}.weight"] = (whole.T if downwards != turned else whole).contiguous()
            if not downwards and getattr(module, "bias", None) is not None:
                bias = module.bias.detach()
                state[f"{names[id(module)]}.bias"] = torch.cat([bias, bias.new_zeros(inner - len(bias))])
    return state
