"""The output of one model: the memories that mix into it, what they read in each pass, and the mixture of all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mnemic.attach.entry import Entry, Place
from mnemic.attach.output.gating import Gated, Gating, of_model
from mnemic.attach.output.mixing import MemoryOutput, mix_in, normalised, unsure
from mnemic.attach.output.passing import Arguments, Pass, Tap, TapState
from mnemic.attach.output.reading import ContextReader, Reader, TapReader, TextReader
from mnemic.attach.output.schedules import Constant, Schedule, number, schedules, shares
from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

_READERS: dict[str, Callable[..., Reader]] = {"hidden": TapReader, "text": TextReader, "context": ContextReader}


class Mixed(Entry):
    """A memory in the mixture, and its weight."""

    def __init__(self, place: Place, reader: Reader, weight: Schedule) -> None:
        super().__init__(place)
        self.reader, self.weight = reader, weight


class Mixture:
    """The memories at the output. ``settle`` is called when there are others.

    ``skip`` is the probability of the model's best token from which on the memories are not asked; None: never.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self.settle = settle
        self.entries: list[Mixed] = []
        self.skip: float | None = None
        self.taps = TapState()
        self.hooks: dict[int, Any] = {}

    @property
    def scheduled(self) -> bool:
        """Whether a weight changes from token to token."""
        return not all(isinstance(entry.weight, Constant | Gated) for entry in self.entries)

    def add(self, stack: Any, memory: Any, weight: float | Schedule, layer: int | None) -> Entry:
        """Let ``memory`` in at ``weight``; ``stack`` are the model's blocks, of which it may read one."""
        *_, schedule = schedules([*(entry.weight for entry in self.entries), weight])
        if isinstance(schedule, Gated) and self._gating not in (None, schedule.gating):
            raise ModelError("The memories of a model share one gate; take the others out, or tune them all together.")
        reader = reader_of(memory, layer, len(stack))
        if schedule == Constant(0.0):
            return Entry()
        entry = Mixed(self, reader, schedule)
        self.entries.append(entry)
        if reader.layer is not None and reader.layer not in self.hooks:
            tap = Tap(self.taps, reader.layer)
            self.hooks[reader.layer] = stack[reader.layer].mlp.register_forward_pre_hook(tap)
        self.settle()
        return entry

    def remove(self, entry: Mixed) -> None:
        self.entries.remove(entry)
        for layer in self.hooks.keys() - {one.reader.layer for one in self.entries}:
            self.hooks.pop(layer).remove()
        self.settle()

    def clear(self) -> None:
        """Take every memory away; nothing is skipped any more."""
        for entry in [*self.entries]:
            entry.close()
        self.skip = None

    def answer(self, model: Any, call: Arguments, output: Any, prompt: int | None) -> Any:
        """The model's ``output`` with the mixture in the place of the logits.

        ``prompt`` is the number of tokens that `generate` began with, None outside of it. The mixture needs a gradient
        where the model's own logits do, which then flows to the model through the memories too.
        """
        import torch

        window = getattr(model.config.get_text_config(), "sliding_window", None)
        dtype = next(model.parameters()).dtype
        seen = Pass.of(call, output=output, taps=self.taps.take(), dtype=dtype, window=window)
        with torch.set_grad_enabled(torch.is_grad_enabled() and seen.logits.requires_grad):
            mixed = self._mixed(seen, prompt)
            return output if mixed is None else seen.answered(model, mixed)

    def _mixed(self, seen: Pass, prompt: int | None) -> torch.Tensor | None:
        """The log-probabilities of the mixture, of the logits' shape; None where no memory has a weight."""
        states = [entry.reader.read(seen) for entry in self.entries]
        weighed = [entry.weight for entry in self.entries if not isinstance(entry.weight, Gated)]
        logits, gated = seen.logits, len(weighed) < len(self.entries)
        now = shares(weighed, seen.positions(prompt) if self.scheduled else None)
        if not gated and not any(_somewhere(weight) for weight in now):
            return None
        base = normalised(logits.reshape(-1, logits.shape[-1]))
        rows = self._rows(base, now, gated)
        if rows is None or len(rows):
            if rows is not None:
                states = [state.index_select(0, rows) for state in states]
                now = [weight if isinstance(weight, float) else weight.index_select(0, rows) for weight in now]
            outputs = self._outputs(states, now, seen)
            if gated:
                part = base if rows is None else base.index_select(0, rows)
                outputs += self._gated(part, states, 1.0 - sum(now), seen)
            mix_in(base, outputs, rows)
        return base.view(logits.shape)

    def _rows(self, base: torch.Tensor, weights: Sequence[float | torch.Tensor], gated: bool) -> torch.Tensor | None:
        """The rows that memories answer; None is all."""
        import torch

        mixed = torch.ones(len(base), dtype=torch.bool, device=base.device)
        changing = [weight for weight in weights if not isinstance(weight, float)]
        if len(changing) == len(weights) and not gated:
            mixed = torch.cat(changing, dim=1).gt(0.0).any(1)
        if self.skip is not None:
            mixed = mixed & unsure(base, self.skip)
        elif not changing:
            return None
        return None if bool(mixed.all()) else torch.nonzero(mixed)[:, 0]

    def _outputs(
        self, states: Sequence[torch.Tensor], weights: Sequence[float | torch.Tensor], seen: Pass
    ) -> list[MemoryOutput]:
        """Of the memories with weights of their own, ``weights``; ``states`` are those of all, of the rows mixed."""
        outputs, left = [], iter(weights)
        for entry, state in zip(self.entries, states, strict=True):
            if not isinstance(entry.weight, Gated) and _somewhere(weight := next(left)):
                outputs.append(MemoryOutput(*entry.reader.log_probs(state, seen), weight))
        return outputs

    def _gated(
        self, base: torch.Tensor, states: Sequence[torch.Tensor], left: float | torch.Tensor, seen: Pass
    ) -> list[MemoryOutput]:
        """Of the memories that share a gate, which divides the share that is ``left``, a number or [rows, 1]."""
        import torch

        answers, features = [], of_model(base.detach())
        for entry, state in zip(self.entries, states, strict=True):
            if isinstance(entry.weight, Gated):
                outputs, own = entry.reader.gated(entry.weight.components, state, seen)
                features |= own
                answers += list(zip(entry.weight.places, outputs, strict=True))
        gating = self._gating
        assert gating is not None
        with torch.no_grad():
            shares = gating.shares(features, len(base), base.device) * left
        return [MemoryOutput(logs, tokens, shares[:, place, None]) for place, (logs, tokens) in answers]

    @property
    def _gating(self) -> Gating | None:
        """The gate that the memories here share."""
        return next((entry.weight.gating for entry in self.entries if isinstance(entry.weight, Gated)), None)


def checked_skip(skip: float | None) -> float | None:
    """``skip`` as a number. Raises `ModelError` where it is no probability that something can be above."""
    value = None if skip is None else number(skip)
    if skip is not None and (value is None or not 0.0 < value <= 1.0):
        raise ModelError(f"skip is a probability above 0 and at most 1, such as 0.9, got {skip!r}.")
    return value


def reader_of(memory: Any, layer: int | None, blocks: int) -> Reader:
    """What reads for ``memory`` in a model of ``blocks`` blocks. Raises `ModelError` where there is no such block."""
    reads = getattr(memory, "reads", None)
    if reads not in _READERS:
        raise ModelError(
            f"A {type(memory).__name__} does not say what it reads, so it cannot be mixed in; give it an attribute "
            f"`reads`, one of {', '.join(_READERS)}, and the methods of `mnemic.attach.output.reading`."
        )
    if reads != "hidden":
        layer = None
    else:
        layer = blocks - 1 if layer is None else layer
        if not 0 <= layer < blocks:
            raise ModelError(f"The model has {blocks} blocks and no block {layer}; give the layer of the memory.")
    return _READERS[reads](memory, layer, f"mnemic-{uuid.uuid4().hex}")


def _somewhere(weight: float | torch.Tensor) -> bool:
    return weight > 0.0 if isinstance(weight, float) else bool((weight > 0.0).any())
