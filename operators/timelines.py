"""Timelines without a language model: the times that events speak of, with the names that stand beside them.

A time is one of the rules of `mnemic.times`, resolved against the event's own time, never against now. The names of a
time are those that its sentence mentions (`mnemic.links.mentions`), else those of its event, and the speakers of the
event. An event that names no time has a step for when it was said, if that is known.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.links.mentions import mentions
from mnemic.links.names import entity_name
from mnemic.timelines.datasets import MEANT, SAID, TIMELINES, TIMELINES_SPEC
from mnemic.times import Moment, moments
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.sections import Derive, Section

_READ = ("id", "document", "tenant", "session", "start", "end", "text", "speakers", "start_time", "end_time")
_END_OF_SENTENCE = re.compile(r"[.!?](?=\s)|[\n\u3002\uff01\uff1f]")

BESIDE = 32
"""Names before a time, and behind it, that belong to it at most."""


@dataclass(frozen=True)
class Timelines:
    """Derives `timelines` from the leaves of events."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def output(self, schema: pa.Schema) -> pa.Schema:
        return TIMELINES

    def open(self, device: str) -> BatchFunction:
        return self.steps

    def steps(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The steps of a batch of leaves."""
        rows = [step for leaf in batch.select(_READ).to_pylist() for step in _steps(leaf)]
        return pa.RecordBatch.from_pylist(rows, schema=TIMELINES), NO_REJECTS


def _steps(leaf: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    text, said_at = leaf["text"], leaf["start_time"]
    anchor = None if said_at is None else said_at.astimezone(UTC).date()
    times = list(moments(text, anchor))
    if not times and said_at is None:
        return
    sentences = list(_sentences(text))
    mentioned = [_names(text, start, end, times) for start, end in sentences]
    everywhere = [mention for sentence in mentioned for mention in sentence]
    speakers = [name for speaker in leaf["speakers"] if (name := entity_name(speaker))]
    same = {
        "event": leaf["id"],
        **{name: leaf[name] for name in ("document", "tenant", "session")},
        "said_at": said_at,
    }
    starts = [start for start, _ in sentences]
    for moment in times:
        beside = _nearest(mentioned[bisect.bisect_right(starts, moment.start) - 1], moment.start)
        yield {
            **same,
            "start": leaf["start"] + moment.start,
            "end": leaf["start"] + moment.end,
            "kind": MEANT,
            "first": _midnight(moment.first),
            "stop": _midnight(moment.stop),
            "precision": moment.precision,
            "vague": moment.vague,
            "names": sorted({*speakers, *(beside or _nearest(everywhere, moment.start))}),
        }
    if not times:
        yield {
            **same,
            "start": leaf["start"],
            "end": leaf["end"],
            "kind": SAID,
            "first": said_at,
            "stop": _behind(max(leaf["end_time"] or said_at, said_at)),
            "precision": "instant",
            "vague": False,
            "names": sorted({*speakers, *_nearest(everywhere, 0)}),
        }


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """First character and end of each sentence; a name does not go from one into the next."""
    start = 0
    for match in _END_OF_SENTENCE.finditer(text):
        yield start, match.end()
        start = match.end()
    yield start, len(text)


def _names(text: str, start: int, end: int, times: Sequence[Moment]) -> list[tuple[int, str]]:
    """(first character, name) of the names in ``text[start:end]``; the words of one of the ``times`` are in none."""
    names = []
    place = bisect.bisect_right(times, start, key=lambda moment: moment.end)
    while start < end:
        stop = min(times[place].start, end) if place < len(times) else end
        names += [(start + mention.start, mention.name) for mention in mentions(text[start:stop])]
        start = max(times[place].end, stop) if place < len(times) else end
        place += 1
    return names


def _nearest(names: Sequence[tuple[int, str]], place: int) -> list[str]:
    """Of ``names`` the nearest to the character ``place``, before and behind it."""
    at = bisect.bisect_left(names, (place, ""))
    return [name for _, name in names[max(0, at - BESIDE) : at + BESIDE]]


def _behind(time: datetime) -> datetime:
    """The next moment after ``time``; the last that there is has none."""
    return time if time.replace(tzinfo=None) == datetime.max else time + timedelta(microseconds=1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


SECTION = Section(
    "timelines",
    Timelines,
    Derive(
        origin="events",
        target=TIMELINES_SPEC,
        columns=_READ,
        key=("document",),
        target_key=("document",),
        after=("segment",),
        where="leaf",
    ),
)
