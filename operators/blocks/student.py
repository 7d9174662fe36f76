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
from mnemic.attach.feedforward import Projections, product
from mnemic.ids import hash_parts
from mnemic.memories.weights import pack
from operators.blocks.frozen import FrozenModel, LowerStates
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences, Path
from operators.train.cost import matrix_flops
from operators.train.labels import Labels

PARTS = ("up", "gate", "down")


@dataclass(frozen=True)
class TrainedBlocksConfig:
    """``rows`` of each block by path, on ``layers`` of a model of ``width``; ``gated``: with a gate."""

    rows: dict[str, int]
    layers: list[int]
    width: int
    gated: bool


class TrainedBlocks(nn.Module):
    """Blocks under training, float32: a matrix [rows, width] for each block, layer and part."""

    format: ClassVar[str] = "mnemic-blocks-1"

    def __init__(self, config: TrainedBlocksConfig) -> None:
        super().__init__()
        self.config = config
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
        return PARTS if self.config.gated else ("up", "down")

    @property
    def head(self) -> Any:
        return _Head(*self.frozen_head)

    def steps_of(self, path: str) -> int:
        """The optimiser's steps that moved the block ``path``."""
        return int(self.steps[list(self.config.rows).index(path)])

    def count_step(self, paths: Collection[str]) -> None:
        """Count one more step of the blocks ``paths``."""
        self.steps.add_(torch.tensor([path in paths for path in self.config.rows], device=self.steps.device))

    def start(self, model: Any, seed: int) -> None:
        """Draw up and gate as widely as the model's own rows; down stays zero, so nothing is added yet.

        A block is drawn from (seed, path) alone, whatever is trained beside it.
        """
        stack = languagemodel.blocks(model)
        for layer in self.config.layers:
            up, gate, _ = Projections.of(stack[layer]).rows()
            spreads = {"up": float(up.float().std()), "gate": 0.0 if gate is None else float(gate.float().std())}
            for path in self.config.rows:
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
        return torch.stack(layers)

    def take(self, path: str, block: Tensor) -> None:
        """Put ``block``, [layers, parts, rows, width], in the place of the block ``path``."""
        for number, layer in enumerate(self.config.layers):
            for place, part in enumerate(self.parts):
                self.matrices[_key(path, layer, part)].data.copy_(block[number, place])

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


@dataclass(frozen=True)
class _Head:
    """The head of the model, [vocabulary, hidden]."""

    weight: Tensor


class BlockStudent:
    """The blocks of a job, and the sequences that train them."""

    def __init__(
        self,
        settings: TrainBlocks,
        memory: TrainedBlocks,
        model: FrozenModel,
        sequences: PackedSequences,
        states: LowerStates,
    ) -> None:
        self.memory, self._settings, self._model = memory, settings, model
        self._sequences, self._states = sequences, states
        self._predicting = sequences.predicting
        self._counts = self._predicting.sum(1)
        self.rows = int(self._counts.sum())
        self.base_logprob = np.zeros(0, np.float32)  # nothing is validated
        memory.frozen_head = (model.head,)
        config = memory.config
        of_row = len(config.layers) * len(memory.parts) * config.width
        self._sizes = {path: own * of_row for path, own in config.rows.items()}
        stack = languagemodel.blocks(model.model)
        self._modules = [(layer, stack[layer].mlp, Projections.of(stack[layer]).activation) for layer in model.layers]

    @property
    def units(self) -> int:
        return len(self._sequences)

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return list(self.memory.matrices.values())

    @property
    def flops(self) -> float:
        """Of an epoch: six a weight of its blocks and token, and four a weight of the layers above, which stay."""
        stack = languagemodel.blocks(self._model.model)[self._model.first :]
        frozen = [weight for layer in stack for weight in layer.parameters() if weight.dim() == 2]
        flops = matrix_flops([*frozen, self._model.head], self.rows) * 2 / 3
        for path, rows in zip(self._sequences.paths, self._counts.tolist(), strict=True):
            flops += 6.0 * rows * sum(self._sizes[name] for name in path)
        return flops

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        steps = min(len(order), max(1, round(self.rows / rows)))
        return [np.sort(part) for part in np.array_split(order, steps)]

    def rows_in(self, batch: NDArray[np.int64]) -> int:
        return int(self._counts[batch].sum())

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Labels]]:
        """One for sequences of one path, as many as `pass_tokens` allows."""
        together = max(1, self._settings.pass_tokens // self._sequences.tokens.shape[1])
        by_path: dict[Path, list[int]] = {}
        for number in batch.tolist():
            by_path.setdefault(self._sequences.paths[number], []).append(number)
        if self.memory.training:
            self.memory.count_step({name for path in by_path for name in path})
        for path in sorted(by_path):
            numbers = by_path[path]
            for begin in range(0, len(numbers), together):
                chosen = np.array(numbers[begin : begin + together])
                yield chosen, self._labels(chosen)

    def _labels(self, chosen: NDArray[np.int64]) -> Labels:
        following = np.roll(self._sequences.tokens[chosen], -1, axis=1)[self._predicting[chosen]]
        ids = torch.from_numpy(following.astype(np.int64))[:, None].to(self._model.device)
        ones = torch.ones(ids.shape, device=self._model.device)
        return Labels(ids, ones, ones[:, :0])

    def trunk(self, inputs: NDArray[np.int64]) -> Tensor:
        """What the head reads for the positions of the sequences ``inputs`` [b] that predict a token."""
        path = self._sequences.paths[int(inputs[0])]
        entering = self._states.of(inputs)
        with self._hung(path), torch.autocast(self._model.device.type, enabled=False):
            hidden = self._model.above(entering, self._sequences, inputs)
        reading = torch.from_numpy(self._predicting[inputs]).to(hidden.device)
        return hidden[reading]

    def held_out(self) -> NDArray[np.float32]:
        return self.base_logprob

    @contextlib.contextmanager
    def _hung(self, path: Path) -> Iterator[None]:
        """The blocks of ``path`` beside their layers while the block runs."""
        with contextlib.ExitStack() as hooks:
            for layer, module, activation in self._modules:
                add = self.memory.beside(layer, path, activation)
                hooks.callback(module.register_forward_hook(_adding(add)).remove)
            yield


def _adding(add: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + add(inputs[0]).to(output.dtype)

    return hook


def _name(path: str) -> str:
    return path.replace(".", "-")  # no name of a weight has a dot


def _key(path: str, layer: int, part: str) -> str:
    return f"{_name(path)}/{layer}/{part}"


def blocks_of(tensors: Mapping[str, Tensor], config: TrainedBlocksConfig) -> TrainedBlocks:
    """The blocks of `TrainedBlocks.state_dict`."""
    memory = TrainedBlocks(config)
    memory.load_state_dict(dict(tensors))
    return memory
