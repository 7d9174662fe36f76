"""Attach memories to a model and take them off again: the hooks, and what hangs on the model.

Nothing here is a module, so the memories are neither saved with the model nor among its parameters; a deep copy of the
model has a copy of them, and mixes independently.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.output.mixing import MemoryOutput, mix_in, normalised, unsure
from mnemic.attach.output.passing import Generating, Pass, Tap, TapState
from mnemic.attach.output.reading import Reader, TapMemory, TextMemory
from mnemic.attach.output.schedules import Constant, Schedule, schedules, shares
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

    Memory = TapMemory | TextMemory

_ATTRIBUTE = "_mnemic_attachment"
_numbers = itertools.count()


class _Attachment:
    """What hangs on a model."""

    def __init__(self, readers: Sequence[Reader], weights: Sequence[Schedule], skip: float | None, model: Any) -> None:
        self.readers, self.weights, self.skip = list(readers), list(weights), skip
        parameters = inspect.signature(model.forward).parameters.values()
        self.names = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
        self.taps, self.generating = TapState(), Generating()
        self.hooks: list[Any] = []

    @property
    def scheduled(self) -> bool:
        return not all(isinstance(weight, Constant) for weight in self.weights)

    def hang(self, model: Any, stack: Any) -> None:
        for layer in {reader.layer for reader in self.readers if reader.layer is not None}:
            self.hooks.append(stack[layer].mlp.register_forward_pre_hook(Tap(self.taps, layer)))
        self.hooks.append(model.register_forward_hook(self.mix, with_kwargs=True))
        if self.scheduled:
            model.generate = MethodType(_generate, model)

    def mix(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """The hook on the model: its output with the mixture in the place of the logits."""
        dtype = next(model.parameters()).dtype
        seen = Pass.of(self.names, args, kwargs, output=output, taps=self.taps.take(), dtype=dtype)
        states = [reader.read(seen) for reader in self.readers]
        logits = seen.logits
        weights = shares(self.weights, seen.positions(self.generating.prompt) if self.scheduled else None)
        if not any(_somewhere(weight) for weight in weights):
            return output
        base = normalised(logits.reshape(-1, logits.shape[-1]))
        rows = self._rows(base, weights)
        if rows is None or len(rows):
            mix_in(base, self._ask(states, weights, rows, seen), rows)
        return seen.answered(model, base.view(logits.shape))

    def _rows(self, base: torch.Tensor, weights: Sequence[float | torch.Tensor]) -> torch.Tensor | None:
        """The rows that memories are asked about; None is all."""
        import torch

        asked = torch.ones(len(base), dtype=torch.bool, device=base.device)
        changing = [weight for weight in weights if not isinstance(weight, float)]
        if len(changing) == len(weights):
            asked = torch.cat(changing, dim=1).gt(0.0).any(1)
        if self.skip is not None:
            asked = asked & unsure(base, self.skip)
        elif not self.scheduled:
            return None
        return None if bool(asked.all()) else torch.nonzero(asked)[:, 0]

    def _ask(
        self,
        states: Sequence[torch.Tensor],
        weights: Sequence[float | torch.Tensor],
        rows: torch.Tensor | None,
        seen: Pass,
    ) -> list[MemoryOutput]:
        said = []
        for reader, state, weight in zip(self.readers, states, weights, strict=True):
            share = weight if rows is None or isinstance(weight, float) else weight.index_select(0, rows)
            if _somewhere(share):
                read = state if rows is None else state.index_select(0, rows)
                said.append(MemoryOutput(*reader.say(read, seen.logits.device, seen.dtype), share))
        return said


def attach(
    model: Any,
    memory: Memory | Sequence[Memory],
    weight: float | Schedule | Sequence[float | Schedule],
    lock: Mapping[str, str],
    tap_layer: int | Sequence[int | None] | None = None,
    *,
    tokenizer: Any | None = None,
    skip: float | None = None,
) -> Any:
    """Make ``model`` (a transformers causal model) answer with ``memory`` at mixing weight ``weight``; returns it.

    Several memories come as a list, with a list of weights that sum to at most 1 and one of layers. A weight is a
    number or a schedule. ``lock`` is `languagemodel.lock` of the model that the memories were
    made for, ``tap_layer`` the block whose feed-forward input a memory reads, None for the last one; a Memory Decoder
    reads the text. ``skip`` leaves tokens to the model where its own largest probability is at least that. Attaching
    again replaces what was attached. Raises `ModelError` where weights or tokenizer are others.
    """
    if not hasattr(model, "get_output_embeddings") or not hasattr(model, "config"):
        raise ModelError(
            f"A memory is attached to a loaded transformers causal model, not to {type(model).__name__}; "
            "`mnemic.languagemodel.load` gives one."
        )
    memories, weights, layers = _listed(memory), schedules(_listed(weight)), _listed(tap_layer)
    layers = layers * len(memories) if len(layers) == 1 else layers
    if not len(memories) == len(weights) == len(layers):
        raise ModelError(
            f"There are {len(memories)} memories, {len(weights)} weights and {len(layers)} layers; give a list of one "
            "length of each."
        )
    if skip is not None and not 0.0 < skip <= 1.0:
        raise ModelError(f"skip is a probability above 0 and at most 1, such as 0.9, got {skip!r}.")
    verify(lock, languagemodel.lock(model, tokenizer))
    stack = languagemodel.blocks(model)
    readers = [_reader(one, layer, len(stack)) for one, layer in zip(memories, layers, strict=True)]
    detach(model)
    used = [(reader, of) for reader, of in zip(readers, weights, strict=True) if of != Constant(0.0)]
    if used:
        attachment = _Attachment([reader for reader, _ in used], [of for _, of in used], skip, model)
        attachment.hang(model, stack)
        setattr(model, _ATTRIBUTE, attachment)
    return model


def detach(model: Any) -> Any:
    """Take the memories off again; the model answers as before. Without a memory nothing happens. Returns the model."""
    attachment = model.__dict__.pop(_ATTRIBUTE, None)
    if attachment is not None:
        for hook in attachment.hooks:
            hook.remove()
        if attachment.scheduled:
            del model.generate
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


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _reader(memory: Any, layer: int | None, blocks: int) -> Reader:
    from mnemic.memories.decoder import MemoryDecoder

    if hasattr(memory, "eval"):
        memory.eval()
    if isinstance(memory, MemoryDecoder):
        return Reader(memory, None, f"mnemic-{next(_numbers)}")
    chosen = blocks - 1 if layer is None else layer
    if not 0 <= chosen < blocks:
        raise ModelError(f"The model has {blocks} blocks and no block {chosen}; give the layer of the memory.")
    return Reader(memory, chosen)


def _somewhere(weight: float | torch.Tensor) -> bool:
    return weight > 0.0 if isinstance(weight, float) else bool((weight > 0.0).any())


def _generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    """`generate` of a model with scheduled weights: it notes where the prompt ends, which is the same in all rows."""
    named = [kwargs.get(name) for name in ("inputs", "input_ids", "inputs_embeds")]
    given = next((one for one in (*args[:1], *named) if one is not None), None)
    state = getattr(model, _ATTRIBUTE).generating
    before, state.prompt = state.prompt, 1 if given is None else given.shape[1]
    try:
        return type(model).generate(model, *args, **kwargs)
    finally:
        state.prompt = before
