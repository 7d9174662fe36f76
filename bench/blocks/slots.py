"""What a table of slots costs: finding the best of a million, and a step where the table is sixteen times larger."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.blocks.corpus import MODEL
from bench.report import Row
from mnemic import languagemodel
from mnemic.slots.layout import PRODUCT_KEYS
from mnemic.slots.product import best_pairs
from operators.blocks.frozen import FrozenModel
from operators.blocks.packing import packed
from operators.slots.operator import TrainSlots
from operators.slots.row_adam import RowAdam
from operators.slots.student import TrainedSlots
from operators.slots.training import PATH, SlotTraining, layout_of
from operators.train.group import SingleProcess
from operators.train.loop import make_optimisers, training_step

SIDE, BEST, QUERIES = 1024, 32, 64
FEW, MANY = 128 * 128, 512 * 512
ROUNDS = 5


def slot_rows() -> list[Row]:
    return [*_product(), *_growth(), *_alone()]


def _product() -> list[Row]:
    """Against the sums of all pairs and their best, which leaves out what it takes to score a million whole keys.

    numpy's partition finds the best of a million in an eighth of the time of torch's `topk`.
    """
    first, second = torch.randn(2, QUERIES, SIDE, generator=torch.Generator().manual_seed(0))

    def exhaustive() -> np.ndarray[Any, Any]:
        pairs = zip(first.numpy(), second.numpy(), strict=True)
        return np.stack([np.partition((one[:, None] + other).ravel(), -BEST)[-BEST:] for one, other in pairs])

    expected = torch.from_numpy(np.sort(exhaustive(), 1)[:, ::-1].copy())
    sums = best_pairs(first, second, BEST)[0]
    slow, fast = _interleaved([exhaustive, lambda: best_pairs(first, second, BEST)])
    metric = f"all sums / best pairs, {SIDE * SIDE:,} slots, best {BEST} of {QUERIES} queries"
    return [
        Row("product_topk", f"equal sums, {SIDE * SIDE:,} slots", float(torch.equal(expected, sums)), "", 1.0),
        Row("product_topk", metric, slow / fast, "x", 50.0, 200.0),
        Row("product_topk_ms", "a query", 1e3 * fast / QUERIES, "ms"),
    ]


def _growth() -> list[Row]:
    """A step of training product keys beside SmolLM2."""
    model, tokenizer = languagemodel.load(MODEL)
    draw = np.random.default_rng(0)
    sequences = packed({PATH: [draw.integers(1, 49_000, 256).astype(np.int32) for _ in range(2)]}, 256)
    with contextlib.ExitStack() as opened:
        steps: list[Callable[[], Any]] = []
        for slots in (FEW, MANY):
            settings = _settings(slots)
            frozen = FrozenModel(model, layout_of(settings, model).layers)
            training = SlotTraining(settings, frozen, tokenizer, sequences)
            student = training.student(opened.enter_context(frozen.states(sequences)))
            steps.append(_step(student, make_optimisers(settings, student, "cpu"), settings.half("cpu")))
        few, many = _interleaved(steps)
    size = f"{MANY:,} / {FEW:,} slots of 576 numbers"
    return [
        Row("slots_16x", f"a step beside SmolLM2, {size}", many / few, "x", 1.3, 1.1, higher_is_better=False),
        Row("slots_step_ms", f"a step of 512 tokens, {FEW:,} slots", 1e3 * few, "ms"),
    ]


def _alone() -> list[Row]:
    """The layers and the optimiser alone."""
    few, many = _interleaved([_layers(slots) for slots in (FEW, MANY)])
    metric = f"layers and optimiser alone, {MANY:,} / {FEW:,} slots of 576 numbers, 512 positions"
    return [Row("slots_16x_alone", metric, many / few, "x", higher_is_better=False)]


def _settings(slots: int) -> TrainSlots:
    return TrainSlots(layout=PRODUCT_KEYS, slots=slots, layers=(24, 26, 28), sequence=256)


def _step(student: Any, optimisers: Any, half: bool) -> Callable[[], Any]:
    return lambda: training_step(student, optimisers, np.arange(2), half, "cpu", SingleProcess())


def _layers(slots: int) -> Callable[[], None]:
    memory = TrainedSlots(_settings(slots).layout_for(576, 30, 49_152), None)
    memory.finders.start(0)
    memory.table.start(0, 0.05)
    hidden = torch.randn(512, 576, generator=torch.Generator().manual_seed(1))
    optimisers = [torch.optim.AdamW(memory.parameters(), lr=1e-3), RowAdam(memory.table, 1e-3)]

    def run() -> None:
        for optimiser in optimisers:
            optimiser.zero_grad()
        added = [memory.finders.added(number, hidden, None, memory.table) for number in range(3)]
        torch.stack(added).square().sum().backward()  # type: ignore[no-untyped-call]
        for optimiser in optimisers:
            optimiser.step()

    return run


def _interleaved(runs: list[Callable[[], Any]]) -> list[float]:
    """The median processor seconds of each, in turn; the first round, which makes what is lazily made, does not count.

    By the clock, a run of more than one slice of the processor would wait for other work, and a short one would not.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS + 1):
        for run, measured in zip(runs, seconds, strict=True):
            started = time.process_time()
            run()
            measured.append(time.process_time() - started)
    return [statistics.median(measured[1:]) for measured in seconds]
