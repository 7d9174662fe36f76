"""The training of a job: one epoch after the other, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.attach.feedforward import Projections
from mnemic.blocks.layout import CONTROL, MODEL, SHARED, BlockLayout, level_of
from mnemic.errors import StepError
from mnemic.languagemodel import blocks as layers_of
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.blocks.plan import chosen_layers
from operators.contracts import Progress
from operators.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from operators.blocks.student import TrainedBlocks

_COMPARED = 8
"""Sequences of a job on which the loss of rounding is measured."""


@dataclass(frozen=True)
class ModelShape:
    """What blocks must fit: the layers that they widen, and the sizes of the model."""

    layers: tuple[int, ...]
    width: int
    gated: bool
    parameters: int
    inner: int

    @classmethod
    def of(cls, model: Any, layers: str | Sequence[int]) -> ModelShape:
        stack = layers_of(model)
        up, gate, _ = Projections.of(stack[0]).rows()
        parameters = sum(weight.numel() for weight in model.parameters())
        return cls(chosen_layers(layers, len(stack)), up.shape[1], gate is not None, parameters, len(up))

    @property
    def row(self) -> int:
        """Parameters of one row of a block."""
        return len(self.layers) * (3 if self.gated else 2) * self.width

    def layout(self, settings: TrainBlocks, rows: Sequence[int]) -> BlockLayout:
        inner = self.inner if settings.model_rate else 0
        return BlockLayout(self.layers, self.width, self.gated, settings.stored, tuple(rows), max(1, sum(rows)), inner)


class BlockTraining:
    """Trains the ``blocks`` (rows by path) of a job of ``seed`` on ``sequences``, from the state of a checkpoint.

    With a ``model_rate`` the matrices of the layers with blocks learn too, at so many times the rates of the blocks.
    `epochs` yields a checkpoint after each epoch that is left.
    """

    def __init__(
        self,
        settings: TrainBlocks,
        model: FrozenModel,
        blocks: Mapping[str, int],
        sequences: PackedSequences,
        state: bytes | None = None,
        model_rate: float = 0.0,
    ) -> None:
        from operators.blocks.student import TrainedBlocks, TrainedBlocksConfig, blocks_of
        from operators.train.checkpoint import memory_tensors

        if not sequences.predicting.any():
            raise StepError("A job of blocks has no text; give the bank more documents of split 'store'.")
        shape = ModelShape.of(model.model, model.layers)
        rows = {**blocks, MODEL: shape.inner} if model_rate else dict(blocks)
        config = TrainedBlocksConfig(rows, list(shape.layers), shape.width, shape.gated)
        if state is None:
            memory = TrainedBlocks(config, model_rate or 1.0)
            memory.start(model.model, settings.seed)
        else:
            memory = blocks_of(memory_tensors(state), config, model_rate or 1.0)
        self.settings, self.model, self.sequences, self.state = settings, model, sequences, state
        self.memory: TrainedBlocks = memory.to(model.device)

    def begin_with(self, checkpoint: bytes) -> None:
        """Let the block of level 1, or the control's first rows, begin with that of a ``checkpoint``.

        What is beside them adds nothing yet.
        """
        from operators.blocks.student import TrainedBlocksConfig, blocks_of
        from operators.train.checkpoint import memory_tensors

        tensors, config = memory_tensors(checkpoint), self.memory.config
        sizes = {name.removeprefix("matrices.").split("/")[0]: len(value) for name, value in tensors.items()}
        rows = sizes[SHARED]
        own = {path: sizes[path] for path in (SHARED, MODEL) if path in sizes}
        shared = TrainedBlocksConfig(own, config.layers, config.width, config.gated)
        first = next(path for path in config.rows if path == CONTROL or level_of(path) == 1)
        block = self.memory.block(first)
        block[:, :, :rows] = blocks_of(tensors, shared).block(SHARED)
        self.memory.take(first, block)

    def cost(self, states: Any, numbers: int, epochs: int) -> dict[str, float]:
        """Tokens and operations of so many ``epochs`` on this text with one block of so many ``numbers``."""
        from operators.blocks.student import BlockStudent

        student = BlockStudent(self.settings, self.memory, self.model, self.sequences, states)
        flops = student.frozen_flops + 6.0 * numbers * student.rows
        return {"trained_tokens": float(student.rows * epochs), "training_flops": flops * epochs}

    def epochs(self, states: Any, progress: Progress) -> Iterator[Checkpoint]:
        """The checkpoints of the epochs that are left; ``states`` are `FrozenModel.states` of the sequences."""
        from operators.blocks.student import BlockStudent
        from operators.train.group import SingleProcess
        from operators.train.loop import train

        student = BlockStudent(self.settings, self.memory, self.model, self.sequences, states)
        device = str(self.model.device)
        yield from train(self.settings, student, self.state, device, progress, SingleProcess())

    def tokens(self, path: str) -> int:
        """Tokens of an epoch that the block ``path`` is trained on; a change of the model is on all."""
        counts = self.sequences.predicting.sum(1).tolist()
        return sum(count for count, own in zip(counts, self.sequences.paths, strict=True) if path in (*own, MODEL))

    @property
    def stored(self) -> list[str]:
        """The paths of what is stored: all but the shared block, with which others begin."""
        return [path for path in self.memory.config.rows if path != SHARED]

    def cells(self, layout: BlockLayout) -> dict[str, bytes]:
        """The blocks as they are stored, by path."""
        return {path: layout.packed(self.memory.block(path)) for path in self.stored}

    def rounding_loss(self, states: Any, layout: BlockLayout) -> float:
        """Nats a token that storing the blocks in their type adds, on some of the sequences."""
        import torch

        chosen = np.arange(min(_COMPARED, len(self.sequences)))
        before = self._loss(states, chosen)
        exact = {name: value.clone() for name, value in self.memory.state_dict().items()}
        with torch.no_grad():
            for path in self.stored:
                rows = self.memory.config.rows[path]
                stored = layout.unpacked(layout.packed(self.memory.block(path)), rows, path).float()
                self.memory.take(path, stored)
        after = self._loss(states, chosen)
        self.memory.load_state_dict(exact)
        return after - before

    def _loss(self, states: Any, chosen: Any) -> float:
        from operators.blocks.sequences import mean_loss
        from operators.blocks.student import BlockStudent

        return mean_loss(BlockStudent(self.settings, self.memory, self.model, self.sequences, states), chosen)
