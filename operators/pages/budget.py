"""Which events have pages, under a number of bytes: the newest first, as many as fit.

The choice is a cut in an order of the events, so it depends on neither batches nor workers, and a build that finds it
written down need not count tokens again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags
from operators.pages.settings import PageSettings

NEVER = np.iinfo(np.int64).min
"""The time of an event that has none: it comes last."""

_AT_ONCE = 256


@dataclass(frozen=True)
class Cut:
    """The last event that has pages, in the order of falling time and of rising id."""

    time: int  # microseconds
    event: str

    def within(self, batch: pa.RecordBatch) -> Flags:
        """Which events of a batch (id, start_time) come before the cut, or are it, bool [n]."""
        times = times_of(batch["start_time"])
        earlier = pc.less_equal(batch["id"], self.event).to_numpy(zero_copy_only=False)
        within: Flags = (times > self.time) | ((times == self.time) & earlier)
        return within


@dataclass(frozen=True)
class PagesChosen:
    """``cut`` is None where all ``events`` have pages; ``without`` have none, of ``size`` bytes are the others."""

    cut: Cut | None
    events: int
    without: int
    size: int


def times_of(column: pa.Array) -> Any:
    """Times as microseconds, int64 [n]; `NEVER` for null."""
    return pc.fill_null(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), NEVER).to_numpy(zero_copy_only=False)


def event_bytes(settings: PageSettings, sizes: tuple[int, int, int], tokens: int) -> int:
    """Bytes of the pages of an event of so many ``tokens``; ``sizes`` are layers, heads and width of the model."""
    if not 2 <= tokens <= settings.longest:
        return 0
    lengths, shrink = [end - begin for begin, end in settings.spans(tokens)], settings.shrink
    return sum(shrink.bytes_of(length, shrink.rows(length, sizes), sizes) for length in lengths)


def choose(
    settings: PageSettings,
    sizes: tuple[int, int, int],
    batches: Iterable[pa.RecordBatch],
    texts: Callable[[Sequence[int]], Sequence[str]],
    count: Callable[[Sequence[str]], Sequence[int]],
) -> PagesChosen:
    """The choice among events in ``batches`` (id, start_time, _rowid), which come in any order.

    ``texts`` gives those of rows by number, ``count`` their tokens. As many candidates are in memory as pages can fit.
    """
    limit = int(settings.max_gb * 1e9)
    most = limit // max(1, event_bytes(settings, sizes, 2)) + 1
    newest, events = None, 0
    for batch in batches:
        events += batch.num_rows
        times = pa.array(times_of(batch["start_time"]))
        rows = pa.table({"time": times, "id": batch["id"], "row": batch["_rowid"]})
        newest = rows if newest is None else pa.concat_tables([newest, rows])
        if len(newest) > 2 * most:
            newest = _ordered(newest).slice(0, most)
    if newest is None:
        return PagesChosen(None, 0, 0, 0)
    newest = _ordered(newest).slice(0, most)
    size, fitting = 0, 0
    for start in range(0, len(newest), _AT_ONCE):
        rows = newest.slice(start, _AT_ONCE)
        for tokens in count(texts(rows["row"].to_pylist())):
            own = event_bytes(settings, sizes, tokens)
            if size + own > limit:
                return PagesChosen(_cut(newest, fitting), events, events - fitting, size)
            size, fitting = size + own, fitting + 1
    cut = None if fitting == events else _cut(newest, fitting)
    return PagesChosen(cut, events, events - fitting, size)


def _ordered(events: pa.Table) -> pa.Table:
    return events.sort_by([("time", "descending"), ("id", "ascending")]).combine_chunks()


def _cut(events: pa.Table, fitting: int) -> Cut:
    """The cut behind the first ``fitting`` of ``events``."""
    if not fitting:
        return Cut(np.iinfo(np.int64).max, "")
    last = events.slice(fitting - 1, 1).to_pylist()[0]
    return Cut(last["time"], last["id"])
