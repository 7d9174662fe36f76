"""Tables of slots as peers of blocks: product keys and hashed n-grams that read as many parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.blocks.corpus import KEY, SLOTS
from bench.blocks.text import Opened
from mnemic.slots.layout import NGRAMS
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.slots.operator import TrainSlots
from operators.slots.training import SlotTraining

HEADS, TOP = 4, 8
WIDTH = 576


def table_settings(layout: str, own: TrainBlocks, layers: Sequence[int], parameters: int) -> TrainSlots:
    """A table of which a position reads about ``parameters`` with the finders, trained as the blocks of ``own`` are.

    Product keys are read by as many of ``layers`` as that allows; n-grams by the lowest, with vectors as wide as it
    allows. Engram reads them in an early layer, above which all would have to be computed in every pass.
    """
    each = 2 * HEADS * KEY * (WIDTH + int(SLOTS**0.5)) + 2 * WIDTH * WIDTH + HEADS * TOP * WIDTH
    number = min(len(layers), max(1, round(parameters / each)))
    hashed = {"layers": tuple(layers[:1]), "value": max(1, round(parameters / (2 * WIDTH * HEADS * 2)))}
    return TrainSlots(
        layout=layout,
        slots=SLOTS,
        heads=HEADS,
        top=TOP,
        key=KEY,
        stored="float32",
        sequence=own.sequence,
        epochs=own.epochs,
        batch=own.batch,
        learning_rate=own.learning_rate,
        value_rate=own.learning_rate,
        seed=own.seed,
        dtype=own.dtype,
        **(hashed if layout == NGRAMS else {"layers": tuple(layers[:number])}),
    )


def trained_table(frozen: FrozenModel, tokenizer: Any, text: Opened, settings: TrainSlots) -> SlotTraining:
    """Trained on ``text`` for the epochs of ``settings``, beside a model whose lower layers end below its own."""
    training = SlotTraining(settings, frozen, tokenizer, text.sequences)
    for _ in training.epochs(text.states, lambda done, total: None):
        pass
    return training


def read(training: SlotTraining) -> int:
    """Parameters that a position reads: the finders and the rows that fire."""
    finders = sum(weight.numel() for weight in training.memory.parameters())
    return finders + training.memory.config.fetched
