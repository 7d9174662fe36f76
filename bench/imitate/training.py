"""A step of training an MLP memory against the bare matrix products in it.

The step is that of the documentation corpus: width 576, four blocks, a head of 8,000 tokens, 2,048 rows with 64 tokens
of teacher, Muon for the blocks, in bfloat16 where the processor has it. The bare side multiplies the same shapes in the
same type, weights cast beforehand: every layer forwards and its two gradients, the head's three products, and Muon's
fifteen of each matrix (`train_efficiency`). They are two fifths of the products, so the ratio is also given without
them, as is that of a step by AdamW alone, which has none.

Expected on machine B of LOG.md (2 cores of an Intel Xeon): train_efficiency .52, train_efficiency_layers .30,
train_efficiency_adamw .49. In float32, on a busy machine C without AMX (`--quick`): .86, .48 and .75.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch

from bench.report import Row, main, paired, timed
from mnemic.hardware import has_bfloat16
from mnemic.memories.mlp import MemoryConfig, MLPMemory
from operators.imitate import Imitate
from operators.imitate.mlp import MLPStudent
from operators.imitate.rows import TrainingRows
from operators.train.group import SingleProcess
from operators.train.loop import make_optimisers, training_step
from operators.train.muon import STEPS

WIDTH, BLOCKS, INNER, HEAD, BATCH, SUPPORT = 576, 4, 2304, 8000, 2048, 64
DTYPE = "bfloat16" if has_bfloat16() else "float32"


def efficiency_rows(quick: bool) -> list[Row]:
    pairs = 3 if quick else 15
    layers, muon = bare_layers(), bare_muon()
    step = our_step("muon")
    for warm in (step, layers, muon, step):
        warm()
    seconds, bare, ratio = paired(lambda: timed(step), lambda: timed(layers) + timed(muon), pairs)
    _, _, without = paired(lambda: timed(step), lambda: timed(layers), pairs)
    plain = our_step("adamw")
    plain()
    _, _, adamw = paired(lambda: timed(plain), lambda: timed(layers), pairs)
    peer = "the same products by torch"
    return [
        Row(
            "train_efficiency",
            f"products over the whole step, Muon's among them, {DTYPE}",
            ratio,
            "",
            0.5,
            0.75,
            peer=peer,
        ),
        Row("train_efficiency_layers", "products of layers and head alone over the same step", without, "", peer=peer),
        Row("train_efficiency_adamw", "the same over a step by AdamW", adamw, "", peer=peer),
        Row("train_rate", f"rows of {WIDTH} components a second, {HEAD:,} tokens, Muon", BATCH / seconds, "rows/s"),
        Row("train_step", "a step", 1e3 * seconds, "ms", higher_is_better=False),
        Row("train_products", "its products", 1e3 * bare, "ms", higher_is_better=False),
    ]


def our_step(optimiser: str) -> Callable[[], object]:
    """A step of the trainer on rows that are made up."""
    rng = np.random.default_rng(0)
    settings = Imitate(optimiser=optimiser, dtype=DTYPE, blocks=BLOCKS, learning_rate=1e-4, matrix_rate=1e-3)
    memory = MLPMemory(MemoryConfig(WIDTH, WIDTH, HEAD, BLOCKS))
    rows = TrainingRows(
        rng.normal(size=(BATCH, WIDTH)).astype(np.float16),
        rng.integers(0, HEAD, BATCH).astype(np.int32),
        rng.integers(0, HEAD, (BATCH, SUPPORT)).astype(np.int32),
        np.sort(rng.integers(0, 200, (BATCH, SUPPORT)).astype(np.uint8), 1),
        np.empty((0, WIDTH), np.float16),
        np.empty(0, np.int32),
        np.empty(0, np.float32),
    )
    half = settings.half("cpu")
    student = MLPStudent(rows, memory, settings.alpha, "cpu", half)
    optimisers = make_optimisers(settings, student, "cpu")
    batch = np.arange(BATCH)
    return lambda: training_step(student, optimisers, batch, half, "cpu", SingleProcess())


def bare_layers() -> Callable[[], None]:
    """The products of all layers and the head, forwards and both gradients."""
    shapes = [(WIDTH, INNER), (INNER, WIDTH)] * BLOCKS + [(WIDTH, HEAD)]
    layers = [(_random(BATCH, inputs), _random(outputs, inputs), _random(BATCH, outputs)) for inputs, outputs in shapes]

    def multiply() -> None:
        for rows, weight, gradient in layers:
            _ = rows @ weight.T
            _ = gradient @ weight
            _ = gradient.T @ rows

    return multiply


def bare_muon() -> Callable[[], None]:
    """The products that make the updates of the blocks' matrices orthogonal."""
    matrices = [_random(WIDTH, INNER) for _ in range(2 * BLOCKS)]

    def multiply() -> None:
        for matrix in matrices:
            for _ in range(STEPS):
                gram = matrix @ matrix.T
                square = gram @ gram
                _ = square @ matrix

    return multiply


def _random(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(getattr(torch, DTYPE)) / 64


if __name__ == "__main__":
    sys.exit(main("imitate.training", __doc__ or "", efficiency_rows))
