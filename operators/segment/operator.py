"""The row operator `Segment`: units with vectors in, rows of `events` out, level by level."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic import schema as bank_schema
from mnemic.arrays import Flags, Integers
from mnemic.catalogue import CATALOGUE
from mnemic.ids import hash_parts
from mnemic.kept import KEPT
from mnemic.vectors import vectors
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.sections import Derive, Section
from operators.segment.settings import SegmentSettings

if TYPE_CHECKING:
    from operators.segment.levels import HardCuts

_MICROSECONDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Segment(SegmentSettings):
    """Row operator from units with ``embedding`` to `mnemic.schema.events`, with the fields of `SegmentSettings`.

    A batch holds all units of each document in it, in any order; events come out level by level, by document and
    ordinal.
    """

    resources: ClassVar[Resources] = Resources()

    @property
    def version(self) -> int:
        """4 where the text decides how much is cut, which valleys changed; 3 for all settings that cut as before."""
        return 4 if self.method == "posterior" and self.mean_units is None else 3

    @property
    def fingerprint(self) -> str:
        """Hash of version and fields; part of every event's id."""
        return hash_parts("segment", self.version, *map(repr, dataclasses.astuple(self)))

    def output(self, schema: pa.Schema) -> pa.Schema:
        return bank_schema.events(schema.field("embedding").type.list_size)

    def open(self, device: str) -> BatchFunction:
        return self._segment

    def _segment(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        from mnemic.words import count_words
        from operators.segment.boundaries import Units, find_boundaries, weights_of
        from operators.segment.events import make_events
        from operators.segment.levels import make_levels

        order = pc.sort_indices(batch, sort_keys=[("document", "ascending"), ("ordinal", "ascending")])
        there = np.array_equal(order.to_numpy(), np.arange(len(order)))  # as a rule: then no vector is copied
        units = batch if there else batch.take(order)
        embeddings = vectors(units.column("embedding"), np.float32, copy=False)
        words = np.array([count_words(text) for text in units.column("text").to_pylist()], np.int64)
        levels = []
        if units.num_rows:
            hard = self._hard_cuts(units)
            signals = {
                name: units.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
                for name in ([self.signal] if self.signal else [])
            }
            boundaries = find_boundaries(Units(embeddings, weights_of(words), hard.all, signals), self)
            levels = make_levels(boundaries, hard, embeddings, words, _turn_numbers(units), self)
        events = make_events(
            units, embeddings, words, levels, segmenter=self.fingerprint, representatives=self.representatives
        )
        return events, NO_REJECTS

    def _hard_cuts(self, units: pa.RecordBatch) -> HardCuts:
        from operators.segment.levels import HardCuts

        documents = _changes(units.column("document"))
        speakers = _changes(units.column("speaker")) if self.by_speaker else np.zeros_like(documents)
        return HardCuts(documents, _pauses(units.column("time"), documents, self.max_pause), speakers)


SECTION = Section(
    "segment",
    Segment,
    Derive(
        origin="units",
        target=CATALOGUE["events"],
        columns=(*bank_schema.UNITS.names, "embedding"),
        key=("document",),
        target_key=("document",),
        after=("embed",),
        where=KEPT,
        needs=("embedding",),
        optional=("surprise",),
    ),
    on=True,
)


def _changes(column: pa.Array) -> Flags:
    changes: Flags = pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return changes


def _turn_numbers(units: pa.RecordBatch) -> Integers:
    """For each unit a number that changes with the turn, -1 for a unit of none."""
    turn = units.column("turn")
    numbers: Integers = np.append(0, np.cumsum(_changes(turn)))
    return np.where(pc.equal(turn, "").to_numpy(zero_copy_only=False), -1, numbers)


def _pauses(times: pa.Array, documents: Flags, longest: float | None) -> Flags:
    """Gaps of more than ``longest`` seconds to the last unit of the document whose time is known."""
    if longest is None or times.null_count == len(times):
        return np.zeros_like(documents)
    timed = times.is_valid().to_numpy(zero_copy_only=False)
    values = times.cast(pa.int64()).fill_null(0).to_numpy()
    places: Integers = np.arange(len(values))
    last_timed = np.maximum.accumulate(np.where(timed, places, -1))[:-1]
    opening = np.maximum.accumulate(np.where(np.concatenate([[True], documents]), places, 0))[1:]
    waited = values[1:] - values[np.maximum(last_timed, 0)]
    paused: Flags = timed[1:] & (last_timed >= opening) & (waited > longest * _MICROSECONDS)
    return paused
