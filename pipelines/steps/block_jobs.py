"""Epochs of the jobs of blocks, in a worker: it keeps what the lower layers say of the jobs that it had last."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnemic import languagemodel
from mnemic.blocks.layout import BlockLayout, level_of
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.blocks.plan import BlockJob
from operators.blocks.training import BlockTraining, ModelShape
from operators.train import Checkpoint
from pipelines.steps.block_texts import BlockTexts

KEPT_BYTES = 8 << 30
"""Of files with lower states that a worker keeps, beside those of the job that it trains."""


@dataclass(frozen=True)
class EpochToTrain:
    """The next epoch of a job, after ``epochs`` that its checkpoint has; ``nodes`` are all that have a block."""

    job: BlockJob
    state: str
    epochs: int
    nodes: tuple[str, ...]
    layout: BlockLayout


@dataclass(frozen=True)
class BlockResult:
    """A block after the last epoch: its cell, the tokens of an epoch and the steps that trained it."""

    cell: bytes
    tokens: int
    steps: int


_runners: dict[str, JobRunner] = {}
"""The runner of this process: a worker asks again for each epoch of all jobs."""


def runner_of(key: str, settings: TrainBlocks, texts: BlockTexts, device: str) -> JobRunner:
    """The runner for ``key``, which names bank, versions and settings; one of before is closed."""
    if key not in _runners:
        close_runners()
        _runners[key] = JobRunner(settings, texts, device)
    return _runners[key]


def close_runners() -> None:
    """Let go of what this process keeps."""
    while _runners:
        _runners.popitem()[1].close()


class JobRunner:
    """Trains with ``settings`` on the text of ``texts``, on ``device``."""

    def __init__(self, settings: TrainBlocks, texts: BlockTexts, device: str) -> None:
        model, _ = languagemodel.shared(settings.model, settings.dtype, device)
        layers = ModelShape.of(model, settings.layers).layers
        self.settings, self.texts, self.model = settings, texts, FrozenModel(model, layers)
        self._open: OrderedDict[str, tuple[PackedSequences, Any, contextlib.ExitStack]] = OrderedDict()

    def epoch(self, item: EpochToTrain, state: bytes | None) -> tuple[Checkpoint, dict[str, BlockResult], float]:
        """The checkpoint of the next epoch of a job, from the ``state`` of that before.

        After the last epoch also its blocks by path, and the loss in nats a token that rounding them adds.
        """
        sequences, states = self._texts(item)
        training = BlockTraining(self.settings, self.model, item.job.blocks, sequences, state)
        (checkpoint,) = itertools.islice(training.epochs(states, lambda done, total: None), 1)
        if checkpoint.epoch < self.settings.epochs:
            return checkpoint, {}, 0.0
        blocks = {
            path: BlockResult(cell, training.tokens(path), training.memory.steps_of(path))
            for path, cell in training.cells(item.layout).items()
        }
        return checkpoint, blocks, training.rounding_loss(states, item.layout)

    def close(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1][2].close()

    def _texts(self, item: EpochToTrain) -> tuple[PackedSequences, Any]:
        """The sequences of a job and their lower states, which are kept for its next epoch."""
        if item.state in self._open:
            self._open.move_to_end(item.state)
        else:
            sequences = self.texts.sequences(item.job.name, item.job.blocks, item.nodes)
            with contextlib.ExitStack() as opening:
                states = opening.enter_context(self.model.states(sequences))
                self._open[item.state] = (sequences, states, opening.pop_all())
            while len(self._open) > 1 and sum(one.nbytes for _, one, _ in self._open.values()) > KEPT_BYTES:
                _, (_, _, files) = self._open.popitem(last=False)
                files.close()
        sequences, states, _ = self._open[item.state]
        return sequences, states


def block_rows(
    item: EpochToTrain, checkpoint: Checkpoint, blocks: Mapping[str, BlockResult], rounding: float
) -> list[dict[str, Any]]:
    """Rows of `blocks` of a job that is finished."""
    metrics = json.dumps({**checkpoint.metrics, "rounding_loss": rounding}, sort_keys=True)
    layout = item.layout
    return [
        {
            "path": path,
            "level": level_of(path),
            "rows": item.job.blocks[path],
            "layers": list(layout.layers),
            "width": layout.width,
            "type": layout.type,
            "tokens": block.tokens,
            "steps": block.steps,
            "job": item.job.name,
            "metrics": metrics,
            "state": item.state,
            "weights": block.cell,
        }
        for path, block in blocks.items()
    ]
