"""The mixture: log p = logsumexp(log(1 - sum w) + log p_LM, log w_i + log p_i), in float32.

The model's part is one logsumexp over the vocabulary and one subtraction; each memory then adds its share at its own
tokens, in place. A token that a memory does not know keeps the shares of the others.

Where the model is sure of the next token a memory changes little. The skip rule leaves such rows to the model and does
not ask the memories about them; that spares nearly all of a memory's time there, for one maximum over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MemoryOutput:
    """Log-probabilities float32 [rows, m] of ``tokens`` by a memory; ``weight`` is a number or [rows, 1].

    ``tokens`` int64 are [m], or [rows, m] of a memory that says few tokens of its own in each row; of these a row may
    repeat some, with the same value. A row of -inf alone says nothing, and its weight is the model's.
    """

    log_probs: torch.Tensor
    tokens: torch.Tensor
    weight: float | torch.Tensor

    @property
    def own(self) -> bool:
        """Whether each row has tokens of its own."""
        return self.tokens.dim() == 2

    @property
    def share(self) -> float | torch.Tensor:
        """The weight where the memory says something."""
        return self.weight * self.log_probs[:, :1].isfinite() if self.own else self.weight


def mix(logits: torch.Tensor, memory: torch.Tensor, tokens: torch.Tensor, weight: float) -> torch.Tensor:
    """Log-probabilities of the mixture with one memory: float32 [..., vocabulary].

    ``logits`` is [..., vocabulary], ``memory`` the log-probabilities [..., head] of the token ids ``tokens`` [head]. A
    token that the memory does not know keeps the language model's share alone.
    """
    flat = normalised(logits.reshape(-1, logits.shape[-1]))
    output = MemoryOutput(memory.reshape(-1, memory.shape[-1]), tokens, weight)
    return mix_in(flat, [output]).view(logits.shape)


def normalised(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of the model alone: a new float32 [rows, vocabulary]."""
    import torch

    values = logits.float()
    return values - torch.logsumexp(values, dim=-1, keepdim=True)


def mix_in(base: torch.Tensor, outputs: Sequence[MemoryOutput], rows: torch.Tensor | None = None) -> torch.Tensor:
    """Mix the ``outputs`` of memories for ``rows`` int64 (None: all) into ``base`` [rows, vocabulary], in place."""
    import torch

    part = base if rows is None else base.index_select(0, rows)
    part += _log(1.0 - sum(one.share for one in outputs), part)
    for one in outputs:
        if one.own:
            place = one.tokens + torch.arange(len(part), device=part.device)[:, None] * part.shape[1]
            flat = part.view(-1)  # to gather along rows would keep them as they are for the gradient
            mixed = torch.logaddexp(
                flat.index_select(0, place.view(-1)).view(place.shape), one.log_probs + _log(one.weight, part)
            )
            if mixed.requires_grad:  # of a token that a row repeats one alone has the gradient
                repeated = (one.tokens == one.tokens[:, :1]).index_fill(1, one.tokens.new_zeros(1), False)
                mixed = torch.where(repeated, mixed.detach(), mixed)
            flat.index_copy_(0, place.view(-1), mixed.view(-1))
            continue
        mixed = torch.logaddexp(part.index_select(-1, one.tokens), one.log_probs + _log(one.weight, part))
        part.index_copy_(-1, one.tokens, mixed)
    return part if rows is None else base.index_copy_(0, rows, part)


def unsure(base: torch.Tensor, skip: float) -> torch.Tensor:
    """Whether the model's largest probability is below ``skip``, bool [rows], for its log-probabilities ``base``."""
    return base.amax(dim=-1).exp() < skip


def _log(share: float | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The logarithm of a share that rounding may have taken a little below 0."""
    import torch

    return torch.as_tensor(share, dtype=torch.float32, device=like.device).clamp(min=0.0).log()
