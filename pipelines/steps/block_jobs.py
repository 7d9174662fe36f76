"""Epochs of the jobs of blocks, in a worker: it keeps what the lower layers say of the jobs that it had last."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mnemic import languagemodel
from mnemic.blocks.layout import MODEL, SHARED, BlockLayout, level_of
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.blocks.plan import BlockJob, settings_of
from operators.blocks.training import BlockTraining, ModelShape
from operators.train import Checkpoint
from pipelines.steps.block_texts import BlockTexts

KEPT_BYTES = 8 << 30
"""Of files with lower states that a worker keeps, beside those of the job that it trains."""


@dataclass(frozen=True)
class EpochToTrain:
    """The next epoch of a job, after ``epochs`` that its checkpoint has; ``nodes`` are all that have a block.

    ``begin`` is the state of the job whose block it begins with, "" where it has a start of its own.
    """

    job: BlockJob
    state: str
    epochs: int
    nodes: tuple[str, ...]
    layout: BlockLayout
    begin: str = ""


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

    def epoch(
        self, item: EpochToTrain, state: bytes | None, begin: bytes | None = None, change: bytes | None = None
    ) -> tuple[Checkpoint, dict[str, BlockResult], float]:
        """The checkpoint of the next epoch of a job, from the ``state`` of that before, or from the block in ``begin``.

        ``change`` is the cell of the change of the model that it is trained beside. After the last epoch also its
        blocks by path, and the loss in nats a token that rounding them adds. Of the shared job that is the change
        alone, if there is one: others begin with the block in its last checkpoint.
        """
        sequences, states = self._texts(item)
        settings, layout = settings_of(item.job.name, self.settings), item.layout
        model = self.model if change is None else self.model.changed(layout.unpacked(change, layout.inner, MODEL))
        model_rate = self.settings.model_rate if item.job.name == SHARED else 0.0
        training = BlockTraining(settings, model, item.job.blocks, sequences, state, model_rate)
        if begin is not None:
            training.begin_with(begin)
        (checkpoint,) = itertools.islice(training.epochs(states, lambda done, total: None), 1)
        if checkpoint.epoch < settings.epochs or not training.stored:
            return checkpoint, {}, 0.0
        if item.begin:
            before = training.cost(states, layout.numbers(layout.rows[0] + layout.inner), self.settings.shared_epochs)
            checkpoint = replace(checkpoint, metrics=_added(checkpoint.metrics, before))
        blocks = {
            path: BlockResult(cell, training.tokens(path), training.memory.steps_of(path))
            for path, cell in training.cells(layout).items()
        }
        return checkpoint, blocks, training.rounding_loss(states, layout)

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


def _added(metrics: Mapping[str, float], more: Mapping[str, float]) -> dict[str, float]:
    return {name: value + more.get(name, 0.0) for name, value in metrics.items()}


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
            "rows": layout.inner if path == MODEL else item.job.blocks[path],
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
