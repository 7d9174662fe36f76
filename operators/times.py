"""The days that events speak of, as columns: from the earliest time that is meant in a row to the latest.

What is told on 8 May may have happened "last winter". A search with ``{"meant_after": ..., "meant_before": ...}`` asks
for rows that speak of such days, whenever they were said (`mnemic.times` has the rules). A time is resolved against the
leaf that it stands in, and rows that hold leaves have the earliest and the latest of theirs. Rows without a time have
nulls.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers
from mnemic.schema import TIME
from mnemic.times import moments
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.sections import Grow, Section

_EPOCH = date(1970, 1, 1)
_NOTHING = np.iinfo(np.int64).max
_READ = ("document", "leaf", "first_unit", "end_unit", "start_time", "text")


@dataclasses.dataclass(frozen=True)
class Times:
    """Adds ``meant_start`` and ``meant_end`` (timestamps in UTC, null for none) to events.

    The first is the beginning of the earliest day that is meant, the second the end of the latest. Reads ``document``,
    ``leaf``, ``first_unit``, ``end_unit``, ``start_time`` and ``text`` of whole documents; a row depends on its own
    document alone.
    """

    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("meant_start", TIME), pa.field("meant_end", TIME)])

    def open(self, device: str) -> BatchFunction:
        schema = self.output(pa.schema([]))

        def resolve(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            first, stop = self._days(batch)
            columns = []
            for days, missing in ((first, _NOTHING), (stop, -_NOTHING)):
                none = days == missing
                microseconds = np.where(none, 0, days) * 86_400_000_000
                columns.append(pa.array(microseconds, pa.int64(), mask=none).cast(TIME))
            return pa.RecordBatch.from_arrays(columns, schema=schema), NO_REJECTS

        return resolve

    def _days(self, batch: pa.RecordBatch) -> tuple[Integers, Integers]:
        """First and last day that each row means, since 1970, int64 [n] each; `_NOTHING` and its negative for none."""
        documents = batch.column("document").dictionary_encode().indices.to_numpy(zero_copy_only=False)
        begin, end = (batch.column(name).to_numpy().astype(np.int64) for name in ("first_unit", "end_unit"))
        leaf = batch.column("leaf").to_numpy(zero_copy_only=False)
        first, stop = np.full(batch.num_rows, _NOTHING), np.full(batch.num_rows, -_NOTHING)
        leaves = np.flatnonzero(leaf)
        some = batch.select(["start_time", "text"]).take(pa.array(leaves))
        sayings = zip(leaves.tolist(), some["start_time"].to_pylist(), some["text"].to_pylist(), strict=True)
        for row, time, text in sayings:
            for moment in moments(text, _day(time)):
                first[row] = min(first[row], (moment.first - _EPOCH).days)
                stop[row] = max(stop[row], (moment.stop - _EPOCH).days)
        order = np.lexsort((begin, documents))
        order = order[leaf[order]]
        # Leaves tile a document: those of a row are a run in the order of (document, first unit).
        keys = documents[order].astype(np.int64) << 32 | begin[order]
        holders = np.flatnonzero(~leaf)
        low = np.searchsorted(keys, documents[holders].astype(np.int64) << 32 | begin[holders])
        high = np.searchsorted(keys, documents[holders].astype(np.int64) << 32 | end[holders])
        for row, start, last in zip(holders.tolist(), low.tolist(), high.tolist(), strict=True):
            if last > start:
                first[row], stop[row] = first[order[start:last]].min(), stop[order[start:last]].max()
        return first, stop


def _day(time: datetime | None) -> date | None:
    return None if time is None else time.astimezone(UTC).date()


SECTION = Section("times", Times, Grow("events", _READ, after=("segment",), whole_documents=True))
