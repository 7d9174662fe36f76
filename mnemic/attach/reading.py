"""The keys and values that a model has of a text, before rotation: a prefix that says what the text says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mnemic.attach.cache import Prefix
from mnemic.attach.rotation import Rotation

if TYPE_CHECKING:
    import torch


class _Capture:
    """A hook that captures what a projection gives, in parts of [batch, heads, positions, width]."""

    def __init__(self, parts: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
        self.parts, self.captured = parts, list[Any]()

    def __call__(self, module: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        self.captured = [part.detach().clone() for part in self.parts(output)]


def read_prefix(model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> Prefix:
    """Read ``ids`` int64 [rows, n] and take every layer's keys (before rotation) and values.

    ``mask`` [rows, n] is 1 where a row has text. Memories that have entered the model act: with a prefix, the text is
    read behind it. Raises `ModelError` for models whose keys are not understood.
    """
    import torch

    rotation = Rotation(model)
    hooks, captures = [], []
    for attention in rotation.attentions:
        layer = []
        for name, parts in _projections(attention):
            capture = _Capture(parts)
            hooks.append(getattr(attention, name).register_forward_hook(capture))
            layer.append(capture)
        captures.append(layer)
    try:
        with torch.no_grad():
            positions = None if mask is None else (mask.long().cumsum(1) - 1).clamp(min=0)
            model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    both = [[part for capture in layer for part in capture.captured] for layer in captures]
    return Prefix([keys for keys, _ in both], [values for _, values in both], None if mask is None else mask.bool())


def _projections(attention: Any) -> list[tuple[str, Callable[[torch.Tensor], list[torch.Tensor]]]]:
    """Modules whose output is captured, by name, and its parts: first the keys, then the values."""
    if hasattr(attention, "c_attn"):  # query, key and value one behind the other

        def split(output: torch.Tensor) -> list[torch.Tensor]:
            return [_heads(part, attention.head_dim) for part in output.chunk(3, dim=2)[1:]]

        return [("c_attn", split)]
    if hasattr(attention, "query_key_value"):  # query, key and value of each head one behind the other

        def chunk(output: torch.Tensor) -> list[torch.Tensor]:
            return list(_heads(output, 3 * attention.head_size).chunk(3, dim=-1)[1:])

        return [("query_key_value", chunk)]

    def whole(output: torch.Tensor) -> list[torch.Tensor]:
        return [_heads(output, attention.head_dim)]

    return [("k_norm" if hasattr(attention, "k_norm") else "k_proj", whole), ("v_proj", whole)]


def _heads(output: torch.Tensor, width: int) -> torch.Tensor:
    """[batch, positions, ...] -> [batch, heads, positions, width]."""
    return output.reshape(*output.shape[:2], -1, width).transpose(1, 2)
