"""One forward pass of the model, as memories see it: its arguments by name, what was tapped, where the logits are."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic.attach.entry import Entry, Place
from mnemic.attach.output.masks import padding_mask

if TYPE_CHECKING:
    import torch


class TapState(threading.local):
    """The hidden states tapped in the forward pass that runs in this thread, by block."""

    def __init__(self) -> None:
        self.hidden: dict[int, torch.Tensor] = {}

    def __reduce__(self) -> tuple[type[TapState], tuple[()]]:
        return TapState, ()  # a copy of the model has passes of its own

    def take(self) -> dict[int, torch.Tensor]:
        hidden, self.hidden = self.hidden, {}
        return hidden


@dataclass(frozen=True)
class Tap:
    """A hook on a block's ``mlp`` that keeps what it reads."""

    taps: TapState
    layer: int

    def __call__(self, module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.taps.hidden[self.layer] = inputs[0]


class Tapped(Entry):
    """What the feed-forward layer of block ``layer`` read in the last pass of this thread."""

    def __init__(self, place: Place, layer: int, module: Any) -> None:
        super().__init__(place)
        self.layer, self.taps = layer, TapState()
        self.hook = module.register_forward_pre_hook(Tap(self.taps, layer))

    @property
    def hidden(self) -> torch.Tensor | None:
        """[batch, positions, hidden] in the model's dtype; None before the first pass."""
        return self.taps.hidden.get(self.layer)

    def close(self) -> None:
        self.hook.remove()
        super().close()


@dataclass(frozen=True)
class Arguments:
    """The arguments that a model's forward was called with, by name; ``extra`` are those that it does not name."""

    named: dict[str, Any]
    extra: dict[str, Any]

    @classmethod
    def of(cls, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """``names`` are the parameters of forward, which was called with ``args`` and ``kwargs``."""
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        return cls(named, {name: named.pop(name) for name in set(named) - set(names)})

    def size(self) -> tuple[int, int]:
        """Rows and positions that are read."""
        read = self.named.get("input_ids")
        read = self.named["inputs_embeds"] if read is None else read
        return read.shape[0], read.shape[1]


@dataclass(frozen=True)
class Pass:
    """``call`` are the arguments of the model's forward by name, ``output`` what it returned, ``taps`` by block."""

    call: Mapping[str, Any]
    extra: Mapping[str, Any]  # of the loss
    size: tuple[int, int]  # rows and positions that were read
    output: Any
    taps: Mapping[int, torch.Tensor]
    dtype: torch.dtype  # of the model, in which memories compute
    window: int | None = None  # of the model's sliding layers

    @classmethod
    def of(cls, call: Arguments, **seen: Any) -> Pass:
        return cls(call.named, call.extra, call.size(), **seen)

    @property
    def labels(self) -> Any:
        return self.call.get("labels")

    @property
    def place(self) -> int:
        """Where the logits are if the output is a tuple: a loss stands before them."""
        return 0 if self.labels is None else 1

    @property
    def logits(self) -> torch.Tensor:
        logits: torch.Tensor = self.output[self.place] if isinstance(self.output, tuple) else self.output.logits
        return logits

    @property
    def cache(self) -> Any | None:
        """The model's cache after the pass, None where it has none."""
        return cache_of(self.output, self.place + 1)

    @property
    def past(self) -> int:
        """Positions that the cache held before the pass."""
        return 0 if self.cache is None else int(self.cache.get_seq_length()) - self.size[1]

    @property
    def padding(self) -> torch.Tensor | None:
        """1 where a row has text, [batch, positions], those of the cache first; None where it has it everywhere."""
        mask = self.call.get("attention_mask")
        return None if mask is None else padding_mask(mask, self.past, self.size[1], self.window)

    def kept(self, hidden: torch.Tensor) -> torch.Tensor:
        """The rows of ``hidden`` [batch, positions, d] that logits were asked for, flattened: [rows, d]."""
        positions = self.call.get("logits_to_keep")
        rows = keep(hidden, 0 if positions is None else positions)
        return rows.reshape(-1, hidden.shape[-1])

    def positions(self, prompt: int | None) -> torch.Tensor:
        """Position of each token that is predicted, as `mnemic.attach.output.schedules` counts: int64 [rows]."""
        import torch

        batch, read = self.size
        device = self.logits.device
        first, mask = self.past, self.call.get("attention_mask")
        if prompt is None and isinstance(mask, torch.Tensor) and mask.dim() == 2:
            place = mask.to(device).long().cumsum(1)[:, first : first + read] - 1
        else:
            place = torch.arange(first, first + read, device=device).expand(batch, read) - ((prompt or 1) - 1)
        return self.kept(place.clamp(min=0)[..., None])[:, 0]

    def answered(self, model: Any, mixed: torch.Tensor) -> Any:
        """The output with other logits, and the loss of these where labels were given."""
        loss = None
        if self.labels is not None:
            size = model.config.get_text_config().vocab_size
            loss = model.loss_function(logits=mixed, labels=self.labels, vocab_size=size, **self.extra)
        if isinstance(self.output, tuple):
            return (*(() if loss is None else (loss,)), mixed, *self.output[self.place + 1 :])
        self.output["logits"] = mixed
        if loss is not None:
            self.output["loss"] = loss
        return self.output


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


def cache_of(output: Any, place: int = 0) -> Any | None:
    """The cache in a model's output, None where it has none; of a tuple, from ``place`` on."""
    if isinstance(output, tuple):
        return next((part for part in output[place:] if hasattr(part, "get_seq_length")), None)
    return getattr(output, "past_key_values", None)
