"""Tables of slots as peers of blocks: product keys and hashed n-grams that read as many parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mnemic.slots.layout import NGRAMS, PRODUCT_KEYS
from operators.blocks.frozen import FrozenModel
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import PackedSequences
from operators.slots.operator import TrainSlots
from operators.slots.training import PATH, SlotTraining, layout_of

SLOTS = 128 * 128
HEADS, TOP, KEY = 4, 8, 32


def table_settings(layout: str, own: TrainBlocks, model: Any, parameters: int) -> TrainSlots:
    """A table of which a position reads about ``parameters`` with the finders, trained as the blocks of ``own`` are.

    Product keys are read by as many layers as that allows, n-grams by one whose vectors are as wide as it allows.
    """
    width, count = int(model.config.hidden_size), int(model.config.num_hidden_layers)
    query = 2 * HEADS * KEY * (width + SLOTS**0.5)
    each = query + (2 * width * width + HEADS * TOP * width if layout == PRODUCT_KEYS else 2 * HEADS * TOP * width)
    number = max(1, round(parameters / each))
    first = _first(own.layers, count)
    late = tuple(first + (count - first) * place // number for place in range(number))
    hashed = {"layers": (count // 3,), "value": max(1, round(parameters / (2 * width * HEADS * 2)))}
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
        **(hashed if layout == NGRAMS else {"layers": late}),
    )


def trained_table(
    model: Any, tokenizer: Any, sequences: PackedSequences, settings: TrainSlots, state: Any = None
) -> SlotTraining:
    """Trained on ``sequences`` for the epochs of ``settings``."""
    frozen = FrozenModel(model, layout_of(settings, model).layers)
    training = SlotTraining(settings, frozen, tokenizer, sequences)
    if state is not None:
        training.memory.load_state(state)
    with frozen.states(sequences) as states:
        for _ in training.epochs(states, lambda done, total: None):
            pass
    return training


def read(training: SlotTraining) -> int:
    """Parameters that a position reads: the finders and the rows that fire."""
    finders = sum(weight.numel() for weight in training.memory.parameters())
    return finders + training.memory.config.fetched


def table_losses(training: SlotTraining, tokens: npt.NDArray[np.int32], prefix: int) -> npt.NDArray[np.float64]:
    """Loss of each token of a document from ``prefix`` on, in nats: [n - prefix]."""
    one = PackedSequences(tokens[None], np.zeros((1, len(tokens)), np.int32), (PATH,))
    training.sequences = one
    with training.model.states(one) as states, torch.no_grad():
        hidden = training.student(states).trunk(np.array([0]))[prefix - 1 :]
        logits = hidden @ training.model.head.T
        following = torch.from_numpy(tokens[prefix:].astype(np.int64)).to(logits.device)
        loss = torch.nn.functional.cross_entropy(logits.float(), following, reduction="none")
    values: npt.NDArray[np.float64] = loss.double().cpu().numpy()
    return values


def _first(layers: str | Sequence[int], count: int) -> int:
    """The lowest layer that the blocks widen."""
    if isinstance(layers, str):
        return 0 if layers == "uniform" else count - -(-count // 3)
    return layers[0]
