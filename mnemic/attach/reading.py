"""The keys and values that a model has of a text, before rotation: a prefix that says what the text says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mnemic.attach.cache import Prefix
from mnemic.attach.rotation import Rotation

if TYPE_CHECKING:
    import torch


class _Capture:
    """A hook that captures what a projection gives, in parts of [batch, heads, positions, width].

    Passes of other threads, which may answer with the model meanwhile, are not captured.
    """

    def __init__(self, parts: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
        self.parts, self.captured, self.thread = parts, list[Any](), threading.get_ident()

    def __call__(self, module: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        if threading.get_ident() == self.thread:
            self.captured = [part.detach().clone() for part in self.parts(output)]


@contextlib.contextmanager
def capturing(rotation: Rotation, queries: bool = False) -> Iterator[list[list[_Capture]]]:
    """Capture, in this thread's passes of the block, the keys and values of every layer before rotation.

    With ``queries`` these are captured too; `captured` gives the parts.
    """
    hooks, captures = [], []
    for attention in rotation.attentions:
        layer = []
        for name, parts in _projections(attention, queries):
            capture = _Capture(parts)
            hooks.append(getattr(attention, name).register_forward_hook(capture))
            layer.append(capture)
        captures.append(layer)
    try:
        yield captures
    finally:
        for hook in hooks:
            hook.remove()


def captured(captures: list[list[_Capture]]) -> list[list[torch.Tensor]]:
    """By part (keys, values, and queries where they were asked for) and layer, [batch, heads, positions, width]."""
    layers = [[part for capture in layer for part in capture.captured] for layer in captures]
    return [list(part) for part in zip(*layers, strict=True)]


def read_prefix(model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> Prefix:
    """Read ``ids`` int64 [rows, n] and take every layer's keys (before rotation) and values.

    ``mask`` [rows, n] is 1 where a row has text. Memories that have entered the model act: with a prefix, the text is
    read behind it. Raises `ModelError` for models whose keys are not understood.
    """
    import torch

    with capturing(Rotation(model)) as captures, torch.no_grad():
        positions = None if mask is None else (mask.long().cumsum(1) - 1).clamp(min=0)
        model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=1)
    keys, values = captured(captures)
    return Prefix(keys, values, None if mask is None else mask.bool())


def _projections(attention: Any, queries: bool) -> list[tuple[str, Callable[[torch.Tensor], list[torch.Tensor]]]]:
    """Modules whose output is captured, by name, and its parts: keys, values, and, if asked for, queries."""
    order = (1, 2, 0) if queries else (1, 2)
    if hasattr(attention, "c_attn"):  # query, key and value one behind the other

        def split(output: torch.Tensor) -> list[torch.Tensor]:
            parts = output.chunk(3, dim=2)
            return [_heads(parts[at], attention.head_dim) for at in order]

        return [("c_attn", split)]
    if hasattr(attention, "query_key_value"):  # query, key and value of each head one behind the other

        def chunk(output: torch.Tensor) -> list[torch.Tensor]:
            parts = _heads(output, 3 * attention.head_size).chunk(3, dim=-1)
            return [parts[at] for at in order]

        return [("query_key_value", chunk)]

    def whole(output: torch.Tensor) -> list[torch.Tensor]:
        return [_heads(output, attention.head_dim)]

    normed = [f"{one}_norm" if hasattr(attention, f"{one}_norm") else f"{one}_proj" for one in ("k", "q")]
    return [(normed[0], whole), ("v_proj", whole), *([(normed[1], whole)] if queries else [])]


def _heads(output: torch.Tensor, width: int) -> torch.Tensor:
    """[batch, positions, ...] -> [batch, heads, positions, width]."""
    return output.reshape(*output.shape[:2], -1, width).transpose(1, 2)
