"""The training of a table of slots: one epoch after the other, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic import languagemodel
from mnemic.errors import StepError
from mnemic.slots.layout import SlotLayout
from operators.blocks.frozen import FrozenModel
from operators.blocks.packing import PackedSequences
from operators.contracts import Progress
from operators.slots.operator import TrainSlots
from operators.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from operators.slots.student import SlotStudent, TrainedSlots

_COMPARED = 8
"""Sequences on which the loss of rounding is measured."""

PATH = ("slots",)
"""Of all sequences: one table serves every text."""


def layout_of(settings: TrainSlots, model: Any) -> SlotLayout:
    """The form of a table for ``model``. Raises `StepError` for layers that it does not have."""
    vocabulary, width = model.get_output_embeddings().weight.shape
    count = len(languagemodel.blocks(model))
    layout = settings.layout_for(int(width), count, int(vocabulary))
    if layout.layers[-1] >= count:
        raise StepError(
            f"The slots' layers name {layout.layers[-1]} and the model has {count}, numbered from 0; name layers of it."
        )
    return layout


class SlotTraining:
    """Trains slots beside ``model`` on ``sequences``, from the state of a checkpoint.

    `epochs` yields a checkpoint after each epoch that is left. ``tokenizer`` is the model's.
    """

    def __init__(
        self,
        settings: TrainSlots,
        model: FrozenModel,
        tokenizer: Any,
        sequences: PackedSequences,
        state: bytes | None = None,
    ) -> None:
        import torch

        from mnemic.slots.ngrams import canonical_ids
        from operators.slots.student import TrainedSlots

        if not sequences.predicting.any():
            raise StepError("Slots have no text to train on; give the bank more documents of split 'store'.")
        layout = layout_of(settings, model.model)
        hashed = layout.hashed
        canonical = torch.from_numpy(canonical_ids(tokenizer, layout.vocabulary)) if hashed else None
        self.settings, self.model, self.sequences = settings, model, sequences
        self.state: bytes | None = None
        self.memory: TrainedSlots = TrainedSlots(layout, canonical, model.device)
        self.memory.start(model.model, settings.seed)
        if state is not None:
            self.resume(state)

    def resume(self, state: bytes) -> None:
        """Go on from the ``state`` of a checkpoint."""
        from operators.train.checkpoint import memory_tensors

        self.memory.load_state(memory_tensors(state))
        self.state = state

    def epochs(self, states: Any, progress: Progress) -> Iterator[Checkpoint]:
        """The checkpoints of the epochs that are left; ``states`` are `FrozenModel.states` of the sequences."""
        from mnemic.slots.finders import usage
        from operators.train.group import SingleProcess
        from operators.train.loop import train

        table, layout = self.memory.table, self.memory.config
        finders = sum(weight.numel() for weight in self.memory.parameters())
        sizes = {
            "parameters": float(finders + layout.slots * layout.numbers),
            "fetched_parameters": float(finders + layout.fetched),
        }
        student = self.student(states)
        table.uses.zero_()
        for checkpoint in train(self.settings, student, self.state, str(self.model.device), progress, SingleProcess()):
            yield replace(checkpoint, metrics=checkpoint.metrics | sizes | usage(table.uses.cpu()))
            table.uses.zero_()

    def student(self, states: Any, sequences: PackedSequences | None = None) -> SlotStudent:
        """The slots as the trainer reads them, on the sequences or on others; ``states`` are theirs."""
        from operators.slots.student import SlotStudent

        own = self.sequences if sequences is None else sequences
        return SlotStudent(self.settings, self.memory, self.model, own, states)

    def rounding_loss(self, states: Any) -> float:
        """Nats a token that storing the values in their type adds, on some of the sequences."""
        chosen = np.arange(min(_COMPARED, len(self.sequences)))
        before = self._loss(states, chosen)
        table = self.memory.table
        slots = table.rows()
        exact = table.values(slots)
        table.take(slots, exact.half().float() if self.memory.config.type == "float16" else exact)
        after = self._loss(states, chosen)
        table.take(slots, exact)
        return after - before

    def _loss(self, states: Any, chosen: Any) -> float:
        from operators.blocks.sequences import mean_loss

        return mean_loss(self.student(states), chosen)
