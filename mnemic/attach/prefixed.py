"""A model's cache with keys and values before it, for one forward pass.

The model's own cache never holds them: whatever `generate` does to it (reorder beams, crop a draft, copy it, allot it
in advance) happens to the text alone, and the prefix stands before it in every pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import Cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemic.attach.output.passing import Arguments


class PrefixedCache(Cache):  # type: ignore[misc]
    """``own`` is the model's cache, None where it keeps none; ``keys`` and ``values`` come before it.

    These are [batch, heads, n, width] by layer. ``call`` are the arguments of the pass as they were.
    """

    is_compileable = False

    def __init__(
        self, own: Any | None, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], call: Arguments
    ) -> None:
        super().__init__(layers=[] if own is None else own.layers)
        self.own, self.keys, self.values, self.call = own, keys, values, call
        self.size = keys[0].shape[2]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.own is not None:
            key_states, value_states = self.own.update(key_states, value_states, layer_idx, *args, **kwargs)
        keys = self.keys[layer_idx].to(key_states.device)
        values = self.values[layer_idx].to(value_states.device)
        return torch.cat([keys, key_states], dim=2), torch.cat([values, value_states], dim=2)

    def get_seq_length(self, layer_idx: int = 0) -> Any:
        return self.size + (0 if self.own is None else self.own.get_seq_length(layer_idx))

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[Any, int]:
        if self.own is None:
            return self.size + query_length, 0
        length, offset = self.own.get_mask_sizes(query_length, layer_idx)
        return self.size + length, offset
