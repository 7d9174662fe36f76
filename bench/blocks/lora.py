"""LoRA (Hu et al., arXiv 2106.09685) as a peer of blocks: the same text, layers, optimiser and number of parameters.

Low-rank updates of up, gate and down of the layers that blocks widen; the paper on memory banks found LoRA of the
feed-forward layers the best of its kinds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.blocks.student import BlockStudent, TrainedBlocks, TrainedBlocksConfig
from operators.train.group import SingleProcess
from operators.train.loop import train


@dataclass(frozen=True)
class LoraConfig:
    """``rows`` are counted as those of a block are."""

    rank: int
    layers: list[int]
    rows: dict[str, int] = field(default_factory=lambda: {"control": 1})


class LoraUpdates(nn.Module):
    """Two matrices for each projection of each layer: down to ``rank`` and up again, the second zero at the start."""

    format = "bench-lora-1"

    def __init__(self, model: Any, config: LoraConfig, seed: int) -> None:
        super().__init__()
        self.config, self.matrices = config, nn.ParameterDict()
        self.frozen_head: tuple[Tensor, ...] = ()
        draw = torch.Generator().manual_seed(seed)
        stack = languagemodel.blocks(model)
        self.modules_of: list[tuple[str, tuple[Any]]] = []
        for layer in config.layers:
            for name, module in _projections(stack[layer]):
                out, into = module.weight.shape
                start = torch.randn(config.rank, into, generator=draw) / into**0.5
                self.matrices[f"{layer}/{name}/a"] = nn.Parameter(start)
                self.matrices[f"{layer}/{name}/b"] = nn.Parameter(torch.zeros(out, config.rank))
                self.modules_of.append((f"{layer}/{name}", (module,)))

    @property
    def head(self) -> Any:
        return type("Head", (), {"weight": self.frozen_head[0]})

    def to_bytes(self) -> bytes:
        return b""

    def count_step(self, paths: Any) -> None:
        """Nobody asks for steps here."""

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """The updates beside their projections while the block runs."""
        with contextlib.ExitStack() as hooks:
            for name, (module,) in self.modules_of:
                hooks.callback(module.register_forward_hook(self._adding(name)).remove)
            yield

    def _adding(self, name: str) -> Any:
        def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            low, high = (self.matrices[f"{name}/{part}"].to(inputs[0].dtype) for part in "ab")
            return cast(Tensor, output + (inputs[0] @ low.mT) @ high.mT)

        return hook


class LoraStudent(BlockStudent):
    """Reads the sequences as the control does, with the updates in the place of its block."""

    def __init__(self, updates: LoraUpdates, settings: TrainBlocks, model: FrozenModel, *texts: Any) -> None:
        control = TrainedBlocksConfig({"control": 1}, list(model.layers), model.head.shape[1], True)
        super().__init__(settings, TrainedBlocks(control), model, *texts)
        self.memory = cast(Any, updates)
        updates.frozen_head = (model.head,)

    @contextlib.contextmanager
    def _hung(self, path: Any) -> Iterator[None]:
        with cast(LoraUpdates, self.memory).hung():
            yield


def _projections(layer: Any) -> list[tuple[str, Any]]:
    parts = Projections.of(layer)
    return [("up", parts.up), ("gate", parts.gate), ("down", parts.down)]


def rank_of(model: Any, layers: tuple[int, ...], parameters: int) -> int:
    """The rank whose updates have about so many parameters."""
    shapes = [module.weight.shape for _, module in _projections(languagemodel.blocks(model)[layers[0]])]
    each = sum(int(shape[0]) + int(shape[1]) for shape in shapes)
    return max(1, round(parameters / (each * len(layers))))


def trained_lora(
    model: Any, layers: tuple[int, ...], sequences: PackedSequences, settings: TrainBlocks, parameters: int
) -> LoraUpdates:
    """Trained on ``sequences`` for the epochs of ``settings``."""
    frozen = FrozenModel(model, layers)
    updates = LoraUpdates(model, LoraConfig(rank_of(model, layers, parameters), list(layers)), settings.seed)
    with frozen.states(sequences) as states:
        student = LoraStudent(updates, settings, frozen, sequences, states)
        for _ in train(settings, student, None, "cpu", lambda done, total: None, SingleProcess()):
            pass
    return updates
