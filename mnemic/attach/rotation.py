"""Where keys stand: what a family of models does to a key by its position, done by the model's own code.

Keys are stored before rotation. Rotated at the place where they were read they equal the live ones bit for bit, and
they can stand at any other place. GPT-2 adds positions to its input instead, so its keys are taken as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

_FIXED = frozenset({"default", "linear", "llama3", "yarn"})  # frequencies that do not depend on a text's length


class Rotation:
    """How ``model`` rotates its keys. Raises `ModelError` where that is not understood."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        decoder = model.base_model
        self.attentions = [attention_of(block) for block in languagemodel.blocks(model)]
        self.limit: int | None = None  # of positions, where they are learnt
        self._embedding = getattr(decoder, "rotary_emb", None)
        self._apply = getattr(sys.modules[type(self.attentions[0]).__module__], "apply_rotary_pos_emb", None)
        if _slides(config):
            raise ModelError(
                f"Models of type {config.model_type!r} with sliding windows forget what stands before the window, so "
                "nothing can be put before the prompt in their cache; use a model with full attention."
            )
        if config.model_type == "gpt2" and not config.add_cross_attention:
            self.limit, self._embedding = config.n_positions, None
        elif self._embedding is None or self._apply is None:
            raise ModelError(
                f"How models of type {config.model_type!r} rotate their keys is not known here, so nothing can be put "
                "before the prompt in their cache; use a Llama, Mistral, Qwen, Gemma, GPT-NeoX or GPT-2."
            )
        else:
            kind = getattr(self._embedding, "rope_type", None)
            if not isinstance(kind, str) or kind not in _FIXED:
                raise ModelError(
                    f"The rotary frequencies of this model ({kind}) depend on the length of a text or on the layer, so "
                    f"stored keys have no fixed place; use a model with one of {', '.join(sorted(_FIXED))}."
                )

    def __call__(self, keys: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """``keys`` [rows, heads, n, width] at ``places`` int64 [rows, n], or [rows, heads, n] of each head."""
        return self._at([keys], places)[0]

    def layers(self, keys: Sequence[torch.Tensor], places: torch.Tensor) -> list[torch.Tensor]:
        """Keys by layer, each as a call does it, at ``places`` [rows, n], or [layers, rows, heads, n]."""
        if places.dim() == 4:
            return [self(own, at) for own, at in zip(keys, places, strict=True)]
        return self._at(keys, places)

    def _at(self, keys: Sequence[torch.Tensor], places: torch.Tensor) -> list[torch.Tensor]:
        """All ``keys`` at the same places, so angles are computed once."""
        if self._embedding is None:
            return list(keys)
        flat = [own if places.dim() == 2 else own.reshape(-1, 1, *own.shape[2:]) for own in keys]
        cosine, sine = self._embedding(flat[0], places.reshape(-1, places.shape[-1]))
        queries = flat[0][:, :0]  # the model's code rotates queries and keys together: of no head
        rotated = (self._apply(queries, own, cosine, sine)[1] for own in flat)  # type: ignore[misc]
        return [one.reshape(own.shape) for one, own in zip(rotated, keys, strict=True)]


def attention_of(block: Any) -> Any:
    """The attention module of a block."""
    return next(getattr(block, name) for name in ("self_attn", "attention", "attn") if hasattr(block, name))


def _slides(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
