"""The places of a decoder: its blocks, the input of their feed-forward layers, its last norm and its output head.

kNN-LM (Khandelwal et al., arXiv 1911.00172, section 5) compared the places of a Transformer where a context vector can
be taken from. The best retrieval key is the input of the last block's feed-forward layer, after its norm (WikiText-103
dev perplexity 17.96 -> 16.06; the model's output gives 17.07). MLP Memory (arXiv 2508.01832, figure 6b) finds that the
student does best when it reads the same place at 70 % of the depth. Both are inputs of a block's ``mlp`` module in
every decoder family handled here, so one forward pre-hook serves all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

_FAMILIES = frozenset(  # by config.model_type
    {"gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "gpt_neox"}
)

_OFFSET_NORMS = ("gemma",)  # their RMSNorm multiplies by 1 + weight


def blocks(model: Any) -> Any:
    """The decoder blocks, in order; each has its feed-forward layer as ``mlp``, whose input is already normed.

    Raises `ModelError` for a family whose blocks are laid out otherwise.
    """
    kind = getattr(model.config, "model_type", type(model).__name__)
    if kind not in _FAMILIES:
        raise ModelError(
            f"Models of type {kind!r} have no known place to tap; use one of {', '.join(sorted(_FAMILIES))}."
        )
    decoder = _decoder(model)
    return decoder.h if hasattr(decoder, "h") else decoder.layers


def _decoder(model: Any) -> Any:
    base = model.base_model
    return getattr(base, "language_model", base)


def student_layer(layers: int, depth: float) -> int:
    """Index (from 0) of the block that the student reads at this share of the depth: 0.7 of 30 blocks is block 21."""
    return min(layers - 1, round(depth * layers))


@contextlib.contextmanager
def capture(model: Any, layers: Iterable[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Within the block, every forward pass stores the feed-forward input of these layers in the yielded dictionary.

    Each is [batch, positions, hidden] in the model's dtype; a later forward pass replaces it.
    """
    taps: dict[int, torch.Tensor] = {}
    stack = blocks(model)
    with contextlib.ExitStack() as hooks:
        for layer in set(layers):
            hooks.callback(tap(stack[layer], taps, layer).remove)
        yield taps


class Taps(Protocol):
    def __setitem__(self, layer: int, hidden: torch.Tensor, /) -> None: ...


def tap(block: Any, taps: Taps, layer: int) -> Any:
    """Store the input of ``block.mlp`` in ``taps[layer]`` at every forward pass; returns the hook's handle."""

    def keep(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        taps[layer] = inputs[0]

    return block.mlp.register_forward_pre_hook(keep)


def final_norm(model: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scale and, for a LayerNorm, bias of the norm before the output embedding; float32 [hidden]."""
    decoder = _decoder(model)
    norm = next(getattr(decoder, n) for n in ("norm", "ln_f", "final_layer_norm") if hasattr(decoder, n))
    scale = norm.weight.detach().float()
    if model.config.model_type.startswith(_OFFSET_NORMS):
        scale = scale + 1.0
    bias = getattr(norm, "bias", None)
    return scale, None if bias is None else bias.detach().float()


def output_embedding(model: Any) -> torch.Tensor:
    """Weight of the language-model head, [vocabulary, hidden]."""
    weight: torch.Tensor = model.get_output_embeddings().weight.detach()
    return weight


def softcap(model: Any) -> float | None:
    """Bound of the logits where the family has one (Gemma 2: 30 tanh(z / 30)), else None."""
    bound = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return None if bound is None else float(bound)
