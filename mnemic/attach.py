"""A language model that generates with a memory: one hook reads the tap, one mixes the output.

kNN-LM (arXiv 1911.00172, equation 3) and MLP Memory (arXiv 2508.01832, section 3.4) mix probabilities: p = (1 - w) p_LM
+ w p_memory. The memory has no state between tokens, so the model's key-value cache, batching and sampling work as
before. At weight 0 the model's output is returned as it is, bit for bit; otherwise ``logits`` become the float32
log-probabilities of the mixture, which softmax leaves as they are. A memory belongs to the weights and the tokenizer it
was made with: the hidden states of any other model mean something else, so another is refused.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

    from mnemic.memories.mlp import MLPMemory

_ATTRIBUTE = "_mnemic_attachment"


class _Taps(threading.local):
    """The tapped hidden state of the forward pass that runs in this thread."""

    hidden: torch.Tensor | None = None

    def __setitem__(self, layer: int, hidden: torch.Tensor) -> None:
        self.hidden = hidden

    def take(self) -> torch.Tensor | None:
        hidden, self.hidden = self.hidden, None
        return hidden


@dataclass
class _Attachment:
    """What hangs on a model. Not a module, so that it is neither saved nor moved with the model."""

    memory: MLPMemory
    weight: float
    layer: int
    taps: _Taps = field(default_factory=_Taps)
    hooks: list[Any] = field(default_factory=list)


def attach(
    model: Any,
    memory: MLPMemory,
    weight: float,
    lock: Mapping[str, str],
    tap_layer: int,
    *,
    tokenizer: Any | None = None,
) -> Any:
    """Make ``model`` (a transformers causal model) answer with ``memory`` at mixing weight ``weight``; returns it.

    ``lock`` is `languagemodel.lock` of the model that the memory was made for, ``tap_layer`` the block whose
    feed-forward input the memory reads. Attaching again replaces what was attached. Raises `ModelError` where weights
    or tokenizer are others.
    """
    if not hasattr(model, "get_output_embeddings") or not hasattr(model, "config"):
        raise ModelError(
            f"A memory is attached to a loaded transformers causal model, not to {type(model).__name__}; "
            "`mnemic.languagemodel.load` gives one."
        )
    if not isinstance(weight, int | float) or not 0.0 <= weight <= 1.0:
        raise ModelError(
            f"A memory is attached with a weight between 0 and 1, got {weight!r}; the release states its best."
        )
    verify(lock, languagemodel.lock(model, tokenizer))
    stack = languagemodel.blocks(model)
    if not 0 <= tap_layer < len(stack):
        raise ModelError(f"The model has {len(stack)} blocks and no block {tap_layer}; give the layer of the memory.")
    detach(model)
    attachment = _Attachment(memory.eval(), weight, tap_layer)
    attachment.hooks = [
        languagemodel.tap(stack[tap_layer], attachment.taps, tap_layer),
        model.register_forward_hook(_mix(attachment), with_kwargs=True),
    ]
    setattr(model, _ATTRIBUTE, attachment)
    return model


def detach(model: Any) -> Any:
    """Take the memory off again; the model answers as before. Without a memory nothing happens. Returns the model."""
    attachment = model.__dict__.pop(_ATTRIBUTE, None)
    if attachment is not None:
        for hook in attachment.hooks:
            hook.remove()
    return model


def verify(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise `ModelError` where a model's lock is not the expected one. A tokenizer that only one names is skipped."""
    if expected.get("weights") != found.get("weights"):
        raise ModelError(
            "The memory was made for a model with other weights: it knows "
            f"{expected.get('architecture', 'one')} {str(expected.get('weights'))[:12]}, this is "
            f"{found.get('architecture', 'one')} {str(found.get('weights'))[:12]}. Load the model that the bank's "
            "recipe names, in bfloat16 or float32, or build a memory for this one."
        )
    if "tokenizer" in expected and "tokenizer" in found and expected["tokenizer"] != found["tokenizer"]:
        raise ModelError(
            "The model's weights are those that the memory was made for, but its tokenizer is another one, so token "
            "ids mean other text; load the tokenizer from the same place as the model."
        )


def mix(logits: torch.Tensor, memory: torch.Tensor, tokens: torch.Tensor, weight: float) -> torch.Tensor:
    """Log-probabilities of the mixture: float32 [..., vocabulary].

    ``logits`` is [..., vocabulary], ``memory`` the log-probabilities [..., head] of the token ids ``tokens`` [head]. A
    token that the memory does not know keeps the language model's share alone.
    """
    import torch

    base = torch.log_softmax(logits.float(), dim=-1) + (math.log1p(-weight) if weight < 1.0 else -math.inf)
    known = torch.logaddexp(base[..., tokens], memory + math.log(weight))
    return base.index_copy(-1, tokens, known)


def _mix(attachment: _Attachment) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        hidden = attachment.taps.take()
        if attachment.weight == 0.0:
            return output
        if hidden is None:
            raise ModelError(
                f"Block {attachment.layer} of the model did not run in this pass, so the memory has nothing to read. "
                "Attach to the whole model, without wrappers that skip its blocks."
            )
        signature = inspect.signature(module.forward)
        call = signature.bind_partial(*args, **kwargs).arguments
        rest = [name for name, parameter in signature.parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
        extra = call.get(rest[0], {}) if rest else {}
        labels = call.get("labels")
        logits, at = _logits(output, labels is not None)
        memory = attachment.memory
        if memory.tokens.device != logits.device:
            memory.to(logits.device)
        hidden = keep(hidden.to(logits.device), call.get("logits_to_keep", 0))
        mixed = mix(logits, memory.log_probs(hidden), memory.tokens, attachment.weight)
        loss = None
        if labels is not None:
            size = module.config.get_text_config().vocab_size
            loss = module.loss_function(logits=mixed, labels=labels, vocab_size=size, **extra)
        if isinstance(output, tuple):
            return (*((loss,) if labels is not None else ()), mixed, *output[at + 1 :])
        output["logits"] = mixed
        if loss is not None:
            output["loss"] = loss
        return output

    return hook


def _logits(output: Any, labelled: bool) -> tuple[torch.Tensor, int]:
    """The logits of a model's output and their place, if it is a tuple (a loss stands before them)."""
    if isinstance(output, tuple):
        at = 1 if labelled else 0
        return output[at], at
    return output.logits, 0


def keep(hidden: torch.Tensor, positions: int | torch.Tensor) -> torch.Tensor:
    """The positions of ``hidden`` [batch, positions, d] that logits were asked for, as transformers chooses them.

    0 is all, n the last n; a vector lists positions, an integer matrix lists them for each row, and a boolean matrix
    selects them, flattened.
    """
    import torch

    if isinstance(positions, int):
        return hidden[:, -positions:] if positions else hidden
    if positions.dim() < 2:
        return hidden[:, positions]
    if positions.dtype == torch.bool:
        return hidden[positions]
    return hidden.take_along_dim(positions[..., None], dim=1)
