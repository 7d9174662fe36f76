"""A latent trained to its end, epoch after epoch, as the steps of a build do it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from operators.latents.settings import LatentEpoch, LatentText, LatentTrainer


def trained(
    trainer: LatentTrainer, text: LatentText, each: Callable[[LatentEpoch], None] = lambda epoch: None
) -> tuple[dict[str, Any], float]:
    """The row of the latent of ``text``, and the seconds of a processor that it cost; ``each`` hears of every epoch."""
    began, state = time.process_time(), None
    while True:
        epoch = trainer.epoch(text, state, lambda done, total: None)
        each(epoch)
        if epoch.row is not None:
            return epoch.row, time.process_time() - began
        state = epoch.checkpoint.state
