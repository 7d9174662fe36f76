"""Everything that is trained on the bench's text, and what a held-out document is read with after it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.blocks.corpus import LAYERS, ROWS
from bench.blocks.lora import trained_lora
from bench.blocks.tables import table_settings, trained_table
from bench.blocks.text import BenchText, HeldOut
from mnemic.attach.feedforward import Projections
from mnemic.blocks.layout import CONTROL, SHARED, BlockLayout, above
from mnemic.languagemodel import blocks as layers_of
from mnemic.slots.layout import NGRAMS, PRODUCT_KEYS
from operators.blocks.hooks import adding
from operators.blocks.operator import TrainBlocks
from operators.blocks.plan import settings_of
from operators.blocks.student import TrainedBlocks
from operators.blocks.training import BlockTraining, ModelShape

FETCHED, OTHER, WHOLE, INT8 = "fetched", "another topic's", "routed by the whole document", "int8"
ONE_COURSE = "control in one course"
LORA, LORA_OF_BANK = "LoRA", "LoRA of the bank's size"

Reading = Callable[[HeldOut, int], AbstractContextManager[Any]]
"""What hangs a memory beside its layers for a document."""


@dataclass(frozen=True)
class Trained:
    """A ``memory``, and how held-out documents are read with it, by name; that of its method chooses the rate."""

    memory: Any
    readings: dict[str, Reading]


@dataclass(frozen=True)
class Method:
    """A way to learn the text: by each of ``courses`` with the first seed, and by the best with ``seeds`` - 1 more.

    A course is some settings of `TrainBlocks`. Validation documents choose among them.
    """

    name: str
    courses: tuple[dict[str, Any], ...]
    seeds: int
    train: Callable[[BenchText, TrainBlocks], Trained]


def layout_of(text: BenchText) -> BlockLayout:
    return ModelShape.of(text.model, LAYERS).layout(text.settings, ROWS)


def fetched_parameters(text: BenchText) -> int:
    return layout_of(text).numbers(sum(ROWS))


def bank_parameters(text: BenchText) -> int:
    """Of the blocks of all topics."""
    return layout_of(text).numbers(sum(text.nodes.values()))


def _fetched(text: BenchText, settings: TrainBlocks) -> Trained:
    shared = _shared(text, settings)
    blocks = {name: _job(text, settings, name, shared).memory for name in text.topics}
    rounded = {name: _rounded(text, memory) for name, memory in blocks.items()}
    readings: dict[str, Reading] = {
        FETCHED: lambda part, number: _hung(text, blocks, text.path(part.leaves[number])),
        OTHER: lambda part, number: _hung(text, blocks, text.other(part.leaves[number], number)),
        WHOLE: lambda part, number: _hung(text, blocks, text.path(part.leaves_of_whole[number])),
        INT8: lambda part, number: _hung(text, rounded, text.path(part.leaves[number])),
    }
    return Trained(blocks, readings)


def _control(text: BenchText, settings: TrainBlocks) -> Trained:
    shared = _shared(text, settings) if settings.shared_epochs else None
    blocks = {CONTROL: _job(text, settings, CONTROL, shared).memory}
    name = CONTROL if shared else ONE_COURSE
    return Trained(blocks, {name: lambda part, number: _hung(text, blocks, (CONTROL,))})


def _lora(name: str, parameters: Callable[[BenchText], int]) -> Callable[[BenchText, TrainBlocks], Trained]:
    def train(text: BenchText, settings: TrainBlocks) -> Trained:
        updates = trained_lora(text.frozen, text.texts[CONTROL], settings, parameters(text))
        return Trained(updates, {name: lambda part, number: updates.hung()})

    return train


def _table(layout: str) -> Callable[[BenchText, TrainBlocks], Trained]:
    def train(text: BenchText, settings: TrainBlocks) -> Trained:
        own = table_settings(layout, settings, LAYERS, fetched_parameters(text))
        table = trained_table(text.frozen, text.tokenizer, text.texts[CONTROL], own)

        def reading(part: HeldOut, number: int) -> AbstractContextManager[None]:
            return table.student(part.opened.states, part.opened.sequences).hung(np.array([number]))

        return Trained(table, {layout: reading})

    return train


def _two(*rates: float, shared: float = 1e-2) -> tuple[dict[str, Any], ...]:
    """Two epochs at ``shared`` on the text of all topics, and two at each of ``rates``."""
    return tuple({"epochs": 4, "shared_epochs": 2, "learning_rate": one, "shared_rate": shared / one} for one in rates)


def _one(*courses: tuple[int, float]) -> tuple[dict[str, Any], ...]:
    """Epochs and rates."""
    return tuple({"epochs": epochs, "shared_epochs": 0, "learning_rate": rate} for epochs, rate in courses)


METHODS = (
    Method(FETCHED, _two(1e-3, 2.5e-3), 3, _fetched),
    Method(CONTROL, _two(1e-3, 2.5e-3), 3, _control),
    Method(ONE_COURSE, _one((2, 1e-2), (4, 3e-3)), 3, _control),
    Method(LORA, _one((3, 3e-3), (4, 1e-3)), 3, _lora(LORA, fetched_parameters)),
    Method(LORA_OF_BANK, _one((3, 1e-3), (4, 3e-4)), 1, _lora(LORA_OF_BANK, bank_parameters)),
    Method(PRODUCT_KEYS, _one((2, 1e-2), (4, 3e-3)), 1, _table(PRODUCT_KEYS)),
    Method(NGRAMS, _one((2, 1e-2), (4, 1e-2)), 1, _table(NGRAMS)),
)


_shared_blocks: dict[str, bytes] = {}
"""Checkpoints by settings: blocks of topics and the control begin with the same ones."""


def _shared(text: BenchText, settings: TrainBlocks) -> bytes:
    key = str(settings_of(SHARED, settings).identity())
    if key not in _shared_blocks:
        _shared_blocks[key] = _job(text, settings, SHARED, None).state
    return _shared_blocks[key]


@dataclass(frozen=True)
class _Job:
    memory: TrainedBlocks
    state: bytes


def _job(text: BenchText, settings: TrainBlocks, name: str, begin: bytes | None) -> _Job:
    own = text.texts[name]
    training = BlockTraining(settings_of(name, settings), text.frozen, text.jobs[name].blocks, own.sequences)
    if begin is not None:
        training.begin_with(begin)
    *_, last = training.epochs(own.states, lambda done, total: None)
    return _Job(training.memory, last.state)


def _rounded(text: BenchText, memory: TrainedBlocks) -> TrainedBlocks:
    """A copy whose numbers went through int8."""
    layout, copied = replace(layout_of(text), type="int8"), TrainedBlocks(memory.config)
    for path, rows in memory.config.rows.items():
        copied.take(path, layout.unpacked(layout.packed(memory.block(path)), rows, path))
    return copied


@contextlib.contextmanager
def _hung(text: BenchText, blocks: dict[str, TrainedBlocks], path: tuple[str, ...]) -> Iterator[None]:
    """The blocks of ``path`` beside their layers."""
    stack = layers_of(text.model)
    with contextlib.ExitStack() as hooks:
        for layer in LAYERS if path else ():
            memory = blocks[path[0] if path == (CONTROL,) else above(path[0])[0]]
            add = memory.beside(layer, path, Projections.of(stack[layer]).activation)
            hooks.callback(stack[layer].mlp.register_forward_hook(adding(add)).remove)
        yield
