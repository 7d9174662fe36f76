"""LoRA (Hu et al., arXiv 2106.09685) as a peer of blocks: the same text, layers, optimiser and number of parameters.

Low-rank updates of up, gate and down of the layers that blocks widen; the paper on memory banks found LoRA of the
feed-forward layers the best of its kinds. Of a rank of 192 on, the matrices are tuned whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.blocks.text import Opened
from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.sequences import SequenceStudent
from operators.train.cost import matrix_flops
from operators.train.group import SingleProcess
from operators.train.loop import train

WHOLE = 192
"""The rank from which on an update is a matrix as large as the model's."""


@dataclass(frozen=True)
class LoraConfig:
    """Updates of ``rank`` for the projections of ``layers``; from `WHOLE` on whole matrices."""

    rank: int
    layers: list[int]


class LoraUpdates(nn.Module):
    """Two matrices for each projection of each layer: down to ``rank`` and up again, the second zero at the start.

    Or one, zero, where they are tuned whole.
    """

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
                if config.rank < WHOLE:
                    start = torch.randn(config.rank, into, generator=draw) / into**0.5
                    self.matrices[f"{layer}/{name}/a"] = nn.Parameter(start)
                    self.matrices[f"{layer}/{name}/b"] = nn.Parameter(torch.zeros(out, config.rank))
                else:
                    self.matrices[f"{layer}/{name}/whole"] = nn.Parameter(torch.zeros(out, into))
                self.modules_of.append((f"{layer}/{name}", (module,)))

    @property
    def head(self) -> Any:
        return type("Head", (), {"weight": self.frozen_head[0]})

    def to_bytes(self) -> bytes:
        return b""

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """The updates beside their projections while the block runs."""
        with contextlib.ExitStack() as hooks:
            for name, (module,) in self.modules_of:
                hooks.callback(module.register_forward_hook(self._adding(name)).remove)
            yield

    def _adding(self, name: str) -> Any:
        def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            parts = ("a", "b") if self.config.rank < WHOLE else ("whole",)
            added = inputs[0]
            for part in parts:
                added = added @ self.matrices[f"{name}/{part}"].to(added.dtype).mT
            return output + added

        return hook


class LoraStudent(SequenceStudent):
    """Sequences that train the updates."""

    memory: LoraUpdates

    @property
    def matrices(self) -> list[nn.Parameter]:
        return list(self.memory.matrices.values())

    @property
    def flops(self) -> float:
        return self.frozen_flops + matrix_flops(self.matrices, self.rows)

    def hung(self, inputs: Any) -> AbstractContextManager[None]:
        return self.memory.hung()


def _projections(layer: Any) -> list[tuple[str, Any]]:
    parts = Projections.of(layer)
    return [("up", parts.up), ("gate", parts.gate), ("down", parts.down)]


def rank_of(model: Any, layers: tuple[int, ...], parameters: int) -> int:
    """The rank whose updates have about so many parameters."""
    shapes = [module.weight.shape for _, module in _projections(languagemodel.blocks(model)[layers[0]])]
    each = sum(int(shape[0]) + int(shape[1]) for shape in shapes)
    return max(1, round(parameters / (each * len(layers))))


def trained_lora(frozen: FrozenModel, text: Opened, settings: TrainBlocks, parameters: int) -> LoraUpdates:
    """Of the layers of ``frozen``, trained on ``text`` for the epochs of ``settings``."""
    layers = frozen.layers
    updates = LoraUpdates(
        frozen.model, LoraConfig(rank_of(frozen.model, layers, parameters), list(layers)), settings.seed
    )
    student = LoraStudent(settings, updates, frozen, text.sequences, text.states)
    for _ in train(settings, student, None, "cpu", lambda done, total: None, SingleProcess()):
        pass
    return updates
