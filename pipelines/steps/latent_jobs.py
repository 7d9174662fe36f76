"""Epochs of latents, in a worker: it keeps the model open, and what it read of the text that it had last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mnemic import languagemodel
from mnemic.dataset.write import WrittenFragment
from operators.latents.settings import LatentEpoch, LatentText, LatentTrainer
from pipelines.steps.latent_texts import LatentTexts


@dataclass(frozen=True)
class LatentToTrain:
    """The next epoch of the latent of a text, after ``epochs`` that its checkpoint has; it holds for ``state``."""

    of: str
    state: str
    epochs: int


@dataclass(frozen=True)
class TrainedLatent:
    """Rows of `metrics`, and of `memories` (a checkpoint) or, after the last epoch, of the dataset; not committed."""

    of: str
    state: str
    epoch: int
    curve: tuple[WrittenFragment, ...]
    checkpoint: tuple[WrittenFragment, ...]
    latent: tuple[WrittenFragment, ...]


_trainers: dict[str, LatentTrainer] = {}
"""The trainer of this process: a worker is asked again for each epoch of all texts."""


def trainer_of(key: str, operator: Any, device: str) -> LatentTrainer:
    """The trainer for ``key``, which names settings and bank; one of before is dropped."""
    if key not in _trainers:
        _trainers.clear()
        _trainers[key] = operator.trainer(*languagemodel.shared(operator.model, operator.dtype, device))
    return _trainers[key]


def close_trainers() -> None:
    """Let go of what this process keeps."""
    _trainers.clear()


def epoch_of(trainer: LatentTrainer, texts: LatentTexts, item: LatentToTrain, state: bytes | None) -> LatentEpoch:
    """The next epoch of ``item``, and after the last one its row as the dataset has it."""
    text = texts.text(item.of)
    trained = trainer.epoch(text, state, _silent)
    if trained.row is None:
        return trained
    return LatentEpoch(trained.checkpoint, {**_about(text, texts.settings.level), **trained.row, "state": item.state})


def _about(text: LatentText, level: str) -> dict[str, Any]:
    return {
        "of": text.of,
        "level": level,
        "documents": list(text.documents),
        "events": list(text.events),
        "text": text.hash,
        "tokens": len(text.ids),
    }


def _silent(done: int, total: int) -> None:
    """Epochs are counted by the driver."""
