"""The blocks of a job as the general trainer trains a memory: rows beside the layers of a model that stays.

Every block is matrices of its own, so an optimiser has moments and step counts for each block, and a step without text
of a node leaves its block as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnemic import languagemodel
from mnemic.attach.feedforward import PARTS, Projections, product
from mnemic.blocks.layout import MODEL
from mnemic.ids import hash_parts
from mnemic.memories.weights import pack
from operators.blocks.frozen import FrozenModel, LowerStates
from operators.blocks.hooks import adding, changing
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences, Path
from operators.blocks.sequences import FrozenHead, SequenceStudent


@dataclass(frozen=True)
class TrainedBlocksConfig:
    """``rows`` of each block by path, on ``layers`` of a model of ``width``; ``gated``: with a gate.

    The path `MODEL` is the change of the model's own matrices, of its inner width.
    """

    rows: dict[str, int]
    layers: list[int]
    width: int
    gated: bool


class TrainedBlocks(nn.Module):
    """Blocks under training, float32: a matrix [rows, width] for each block, layer and part.

    The change of the model is its matrices times ``scale``: an optimiser that moves all by one rate moves it by so
    much less.
    """

    format: ClassVar[str] = "mnemic-blocks-1"

    def __init__(self, config: TrainedBlocksConfig, scale: float = 1.0) -> None:
        super().__init__()
        self.config, self.scale = config, scale
        self.matrices = nn.ParameterDict(
            {
                _key(path, layer, part): nn.Parameter(torch.zeros(rows, config.width))
                for path, rows in config.rows.items()
                for layer in config.layers
                for part in self.parts
            }
        )
        self.steps: Tensor = nn.Buffer(torch.zeros(len(config.rows), dtype=torch.int64))  # that moved each block
        self.frozen_head: tuple[Tensor, ...] = ()  # in a tuple: it is the model's, and no weight of the blocks

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS[self.config.gated]

    @property
    def head(self) -> Any:
        return FrozenHead(*self.frozen_head)

    def steps_of(self, path: str) -> int:
        """The optimiser's steps that moved the block ``path``."""
        return int(self.steps[list(self.config.rows).index(path)])

    def count_step(self, paths: Collection[str]) -> None:
        """Count one more step of the blocks ``paths``."""
        moved = [path in paths or path == MODEL for path in self.config.rows]
        self.steps.add_(torch.tensor(moved, device=self.steps.device))

    def start(self, model: Any, seed: int) -> None:
        """Draw up and gate as widely as the model's own rows; down stays zero, so nothing is added yet.

        A block is drawn from (seed, path) alone, whatever is trained beside it. A change of the model is zero.
        """
        stack = languagemodel.blocks(model)
        for layer in self.config.layers:
            up, gate, _ = Projections.of(stack[layer]).rows()
            spreads = {"up": float(up.float().std()), "gate": 0.0 if gate is None else float(gate.float().std())}
            for path in self.config.rows.keys() - {MODEL}:
                for part in self.parts[:-1]:
                    draw = torch.Generator().manual_seed(int(hash_parts("block", seed, path, layer, part)[:15], 16))
                    matrix = self.matrices[_key(path, layer, part)]
                    drawn = torch.empty(matrix.shape)
                    nn.init.trunc_normal_(drawn, 0.0, spreads[part], -2 * spreads[part], 2 * spreads[part], draw)
                    matrix.data.copy_(drawn)

    def block(self, path: str) -> Tensor:
        """The block ``path``, float32 [layers, parts, rows, width], on the CPU."""
        layers = [
            torch.stack([self.matrices[_key(path, layer, part)].detach().cpu() for part in self.parts])
            for layer in self.config.layers
        ]
        return torch.stack(layers) * self.scale if path == MODEL else torch.stack(layers)

    def change(self, number: int, part: int) -> Tensor:
        """The change of the model at a layer, by its place among those of the config: [inner, width]."""
        matrix: Tensor = self.matrices[_key(MODEL, self.config.layers[number], self.parts[part])]
        return matrix * self.scale

    def take(self, path: str, block: Tensor) -> None:
        """Put ``block``, [layers, parts, rows, width], in the place of the block ``path``."""
        scale = self.scale if path == MODEL else 1.0
        for number, layer in enumerate(self.config.layers):
            for place, part in enumerate(self.parts):
                self.matrices[_key(path, layer, part)].data.copy_(block[number, place] / scale)

    def beside(self, layer: int, path: Path, activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """What the blocks of ``path`` add at ``layer``: hidden [b, positions, width] -> the same."""

        def add(hidden: Tensor) -> Tensor:
            added = None
            for name in path:
                own = [self.matrices[_key(name, layer, part)].to(hidden.dtype) for part in self.parts]
                more = product(activation, hidden, own[0], own[1] if len(own) == 3 else None, own[-1])
                added = more if added is None else added + more
            assert added is not None
            return added

        return add

    def to_bytes(self) -> bytes:
        """The blocks as one safetensors file."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        return pack(tensors, {"format": self.format, "config": vars(self.config)})


class BlockStudent(SequenceStudent):
    """The blocks of a job, and the sequences that train them."""

    memory: TrainedBlocks

    def __init__(
        self,
        settings: TrainBlocks,
        memory: TrainedBlocks,
        model: FrozenModel,
        sequences: PackedSequences,
        states: LowerStates,
    ) -> None:
        super().__init__(settings, memory, model, sequences, states)
        config = memory.config
        of_row = len(config.layers) * len(memory.parts) * config.width
        self._sizes = {path: own * of_row for path, own in config.rows.items()}
        stack = languagemodel.blocks(model.model)
        self._modules = [(layer, stack[layer].mlp, Projections.of(stack[layer]).activation) for layer in model.layers]

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return list(self.memory.matrices.values())

    @property
    def flops(self) -> float:
        """Of an epoch: six a weight of its blocks and token, and four a weight of what stays above.

        A change under training is a block of every text; one that stays is among the weights above.
        """
        stays = 0 if self._model.change is None else self._model.change.numel()
        flops = self.frozen_flops + 4.0 * self.rows * stays + 6.0 * self.rows * self._sizes.get(MODEL, 0)
        for path, rows in zip(self._sequences.paths, self._counts.tolist(), strict=True):
            flops += 6.0 * rows * sum(self._sizes[name] for name in path)
        return flops

    def begin_batch(self, paths: set[str]) -> None:
        if self.memory.training:
            self.memory.count_step(paths)

    @contextlib.contextmanager
    def hung(self, inputs: NDArray[np.int64]) -> Iterator[None]:
        path = self._sequences.paths[int(inputs[0])]
        with contextlib.ExitStack() as hooks:
            if MODEL in self.memory.config.rows:
                hooks.enter_context(changing(self._model.model, self._model.layers, self.memory.change))
            for layer, module, activation in self._modules:
                add = self.memory.beside(layer, path, activation)
                hooks.callback(module.register_forward_hook(adding(add)).remove)
            yield


def _name(path: str) -> str:
    return path.replace(".", "-")  # no name of a weight has a dot


def _key(path: str, layer: int, part: str) -> str:
    return f"{_name(path)}/{layer}/{part}"


def blocks_of(tensors: Mapping[str, Tensor], config: TrainedBlocksConfig, scale: float = 1.0) -> TrainedBlocks:
    """The blocks of `TrainedBlocks.state_dict`."""
    memory = TrainedBlocks(config, scale)
    memory.load_state_dict(dict(tensors))
    return memory
