"""Units to episodic events.

An event is a run of neighbouring units about one thing. The default is TextTiling over the units' embeddings
(`operators.segment.score`), which needs no training and one pass; `fixed` and `sentence` are the baselines to compare
with. A segmenter has two parts, so that another one adds a file and not a fork: a *score* of every gap between units,
and a *selection* of the gaps to cut (`operators.segment.select`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic import schema as bank_schema
from mnemic.ids import hash_parts
from operators.contracts import NO_REJECTS, Resources, Worker, refuse
from operators.segment.events import make_events
from operators.segment.score import score
from operators.segment.select import cutoff, every, keep_apart, limit, select

METHODS = ("sentence", "fixed", "texttiling")


@dataclasses.dataclass(frozen=True)
class Segment:
    """Row operator from units with ``embedding`` to events (`mnemic.schema.events`).

    A batch holds all units of each document in it, in any order; events come out by document and ordinal. ``method``
    is "texttiling" (``window`` units on each side of a gap; cut above mean + ``deviations`` standard deviations of the
    document), "fixed" (blocks of ``size`` units) or "sentence" (every unit an event). Events shorter than ``min_units``
    are avoided; longer than ``max_units`` units or ``max_words`` words there are none, except a single unit of more
    words.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    method: str = "texttiling"
    window: int = 3
    deviations: float = 1.0
    size: int = 8
    min_units: int = 1
    max_units: int = 64
    max_words: int = 400

    def __post_init__(self) -> None:
        problems = []
        if self.method not in METHODS:
            problems.append(f"There is no segmenter {self.method!r}; choose one of {', '.join(METHODS)}.")
        if not math.isfinite(self.deviations):
            problems.append(f"The segmenter's deviations is {self.deviations}; give a finite number, such as 1.0.")
        if min(self.window, self.size, self.min_units, self.max_words) < 1 or self.max_units < self.min_units:
            problems.append(
                f"A segmenter cannot have window {self.window}, size {self.size}, min_units {self.min_units}, "
                f"max_units {self.max_units} and max_words {self.max_words}; set all of them to at least 1 and "
                "max_units to no less than min_units."
            )
        refuse(problems)

    @property
    def fingerprint(self) -> str:
        """Hash of version and fields; part of every event's id."""
        return hash_parts("segment", self.version, *map(repr, dataclasses.astuple(self)))

    def output(self, schema: pa.Schema) -> pa.Schema:
        return bank_schema.events(schema.field("embedding").type.list_size)

    def open(self, device: str) -> Worker:
        return self._segment

    def _segment(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        units = batch.take(pc.sort_indices(batch, sort_keys=[("document", "ascending"), ("ordinal", "ascending")]))
        dimension = batch.schema.field("embedding").type.list_size
        vectors = units.column("embedding").flatten().to_numpy().reshape(-1, dimension).astype(np.float32)
        words = np.array([len(text.split()) for text in units.column("text").to_pylist()], np.int64)
        documents = units.column("document")
        ends = pc.not_equal(documents[1:], documents[:-1]).to_numpy(zero_copy_only=False)
        nothing = np.full(len(ends), np.nan)
        scores = score(vectors, ends, self.window) if self.method == "texttiling" else nothing
        threshold = cutoff(scores, ends, self.deviations) if self.method == "texttiling" else nothing
        if self.method == "texttiling":
            cuts = keep_apart(select(scores, ends, threshold), scores, ends, self.min_units)
        else:
            cuts = every(self.size if self.method == "fixed" else 1, ends)
        cuts = limit(cuts, scores, words, self.max_units, self.max_words, min_units=self.min_units)
        events = make_events(
            units, vectors, words, cuts=cuts, scores=scores, threshold=threshold, segmenter=self.fingerprint
        )
        return events, NO_REJECTS
