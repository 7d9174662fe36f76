"""Finders and table as the general trainer trains a memory, on packed sequences and beside a model that stays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from mnemic.attach.trail import NO_TOKEN
from mnemic.slots.finders import Finders
from mnemic.slots.layout import SlotLayout
from operators.blocks.frozen import FrozenModel, LowerStates
from operators.blocks.hooks import adding
from operators.blocks.packing import PackedSequences
from operators.blocks.sequences import FrozenHead, SequenceStudent
from operators.slots.operator import TrainSlots
from operators.slots.row_adam import RowAdam
from operators.slots.table import TrainedTable
from operators.train.cost import matrix_flops

_TABLE = ("slots", "values")


class TrainedSlots:
    """Slots under training: ``finders``, and the ``table`` that they share. Its state has the rows that ever fired."""

    format = Finders.format

    def __init__(self, layout: SlotLayout, canonical: Tensor | None, device: torch.device | str = "cpu") -> None:
        self.config = layout
        self.finders, self.table = Finders(layout, canonical).to(device), TrainedTable(layout, device)
        self.frozen_head: tuple[Tensor, ...] = ()  # it is the model's, and no weight of the slots

    @property
    def head(self) -> Any:
        return FrozenHead(*self.frozen_head)

    def start(self, model: Any, seed: int) -> None:
        """Draw what is not zero, from ``seed``; nothing is added to ``model`` yet."""
        up, _, _ = Projections.of(languagemodel.blocks(model)[self.config.layers[0]]).rows()
        self.finders.start(seed)
        self.table.start(seed, float(up.float().std()))

    def state_dict(self) -> dict[str, Tensor]:
        slots = self.table.rows()
        return {**self.finders.state_dict(), "slots": slots, "values": self.table.values(slots)}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up those of `state_dict`; rows that they do not have stay as they started."""
        self.finders.load_state_dict({name: value for name, value in tensors.items() if name not in _TABLE})
        slots, values = (tensors[name].to(self.table.uses.device) for name in _TABLE)
        self.table.take(slots, values)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.finders.named_parameters()

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.finders.parameters()

    def train(self, mode: bool = True) -> TrainedSlots:
        self.finders.train(mode)
        return self

    def to_bytes(self) -> bytes:
        """The finders; the table is rows of `slots`."""
        return self.finders.to_bytes()


class SlotStudent(SequenceStudent):
    """Sequences that train slots."""

    memory: TrainedSlots

    def __init__(
        self,
        settings: TrainSlots,
        memory: TrainedSlots,
        model: FrozenModel,
        sequences: PackedSequences,
        states: LowerStates,
    ) -> None:
        super().__init__(settings, memory, model, sequences, states)
        self.settings = settings
        stack = languagemodel.blocks(model.model)
        self._modules = [stack[layer].mlp for layer in memory.config.layers]

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return [weight for weight in self.memory.parameters() if weight.dim() == 2]

    @property
    def flops(self) -> float:
        """Of an epoch: of the model, of the finders' matrices, and of the rows that fire."""
        finders = [weight for weight in self.memory.parameters() if weight.requires_grad]
        return self.frozen_flops + matrix_flops(finders, self.rows) + 6.0 * self.memory.config.fetched * self.rows

    def table_optimiser(self) -> RowAdam:
        return RowAdam(self.memory.table, self.settings.value_rate, self.settings.weight_decay)

    @contextlib.contextmanager
    def hung(self, inputs: NDArray[np.int64]) -> Iterator[None]:
        longest = self.memory.config.longest
        text = torch.from_numpy(self._sequences.part[inputs] >= 0).to(self._model.device)
        contexts = contexts_of(self._sequences, inputs, longest).to(text.device)[text] if longest else None
        with contextlib.ExitStack() as hooks:
            for number, module in enumerate(self._modules):
                add = _Adding(self.memory, number, text, contexts)
                hooks.callback(module.register_forward_hook(adding(add)).remove)
            yield


class _Adding:
    """What the finder at place ``number`` adds at the positions with ``text``, bool [b, length]; padding fires no slot.

    ``contexts`` are the last tokens of these positions.
    """

    def __init__(self, memory: TrainedSlots, number: int, text: Tensor, contexts: Tensor | None) -> None:
        self.memory, self.number, self.text, self.contexts = memory, number, text, contexts

    def __call__(self, hidden: Tensor) -> Tensor:
        own = self.memory.finders.added(self.number, hidden[self.text], self.contexts, self.memory.table)
        return hidden.new_zeros(hidden.shape).index_put((self.text,), own)


def contexts_of(sequences: PackedSequences, chosen: NDArray[np.int64], longest: int) -> Tensor:
    """The last ``longest`` tokens of each position of ``chosen`` [b], of its own document alone.

    int64 [b, length, longest], `NO_TOKEN` before a document's first.
    """
    tokens, places = sequences.tokens[chosen].astype(np.int64), sequences.places[chosen]
    padded = np.pad(tokens, ((0, 0), (longest - 1, 0)), constant_values=NO_TOKEN)
    contexts = np.lib.stride_tricks.sliding_window_view(padded, longest, axis=1).copy()
    before = np.arange(longest - 1, -1, -1)[None, None] > places[:, :, None]
    contexts[before] = NO_TOKEN
    return torch.from_numpy(contexts)
