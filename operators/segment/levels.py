"""The levels of events: passages inside turns inside events inside sessions, each a list of ranges of units.

A *session* lies between hard cuts: a document, or a part of one between long pauses. An *event* is a segment of a
session. A *turn* is the uninterrupted text of one speaker of a conversation, or the part of it that an event has. An
event without turns, or a turn, of more words than a reader or an encoder takes at once also comes in *passages*, cut
where the units on either side differ most. (At an event's granularity no gap inside it is a boundary.) A row with no
smaller rows below it but units is a leaf. Leaves tile the units of every document once, so leaves are searched and
clustered. (Blocks with a stride overlap, and so do their passages.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mnemic.arrays import Flags, Floats, Integers, Vectors
from operators.segment.boundaries import Boundaries
from operators.segment.limits import limit
from operators.segment.settings import SegmentSettings
from operators.segment.similarity import depth, gap_similarity

CAUSES = ("start", "pause", "speaker", "topic", "length", "block", "turn")
"""Why a range begins where it does."""


@dataclass(frozen=True)
class HardCuts:
    """Gaps that nothing crosses, by reason, each bool [n - 1]."""

    documents: Flags
    pauses: Flags
    speakers: Flags

    @property
    def sessions(self) -> Flags:
        return self.documents | self.pauses

    @property
    def all(self) -> Flags:
        return self.sessions | self.speakers


@dataclass(frozen=True)
class Level:
    """Ranges of units [first, end) in order, and for each: what begins it, what holds it, whether it is a leaf.

    ``parent`` is the range that holds it, by its place among all ranges of the levels above, -1 at the top. ``cause``
    indexes `CAUSES`. ``score`` and ``threshold`` belong to the gap before it, NaN where there is none.
    """

    name: str
    firsts: Integers
    ends: Integers
    parent: Integers
    leaf: Flags
    cause: Integers
    score: Floats
    threshold: Floats


def make_levels(
    boundaries: Boundaries,
    hard: HardCuts,
    vectors: Vectors,
    words: Integers,
    turns: Integers,
    settings: SegmentSettings,
) -> list[Level]:
    """Sessions, events, turns and passages.

    ``vectors`` [n, d] are the units', ``words`` [n] counts each unit's; ``turns`` [n] differ between turns that follow
    each other, -1 for a unit of none.
    """
    count = len(words)
    starts = _starts(hard.sessions)
    stops = np.append(starts[1:], count)
    firsts = _starts(boundaries.cuts)
    ends = np.append(firsts[1:], count)
    session = np.searchsorted(starts, firsts, side="right") - 1
    turn_firsts, turn_ends = _turns(turns, _starts(hard.all if settings.stride is not None else boundaries.cuts))
    if settings.method == "fixed" and settings.stride is not None:
        ends = np.minimum(firsts + settings.size, _hard_ends(firsts, hard.all, count))
        needed = np.ones(len(firsts), np.bool_)  # a block within the one before it says nothing more
        needed[1:] = ends[1:] > ends[:-1]
        firsts, ends, session = firsts[needed], ends[needed], session[needed]
    event = np.searchsorted(firsts, turn_firsts, side="right") - 1
    smallest = np.append(turns[firsts] < 0, np.ones(len(turn_firsts), np.bool_))  # of events, then of turns
    passages, holder = _passages(
        np.append(firsts, turn_firsts), np.append(ends, turn_ends), smallest, vectors, words, settings
    )
    leaf = smallest.copy()
    leaf[holder] = False
    cause, block = _causes(boundaries, hard), "block" if settings.method in ("fixed", "unit") else "length"

    def level(name: str, ranges: tuple[Integers, Integers], parent: Integers, leaf: Flags, otherwise: str) -> Level:
        at, gap = ranges[0], ranges[0] - 1
        cause[at] = np.where(cause[at] >= 0, cause[at], CAUSES.index(otherwise))  # a smaller range begins there as well
        score, threshold = (np.append(values, np.nan)[gap] for values in (boundaries.score, boundaries.threshold))
        return Level(name, *ranges, parent, leaf, cause[at], score, threshold)

    sessions, events = len(starts), len(firsts)
    return [
        level("session", (starts, stops), np.full(sessions, -1), np.zeros(sessions, np.bool_), "length"),
        level("event", (firsts, ends), session, leaf[:events], block),
        level("turn", (turn_firsts, turn_ends), sessions + event, leaf[events:], "turn"),
        level("passage", passages, sessions + holder, np.ones(len(holder), np.bool_), "length"),
    ]


def _turns(turns: Integers, starts: Integers) -> tuple[Integers, Integers]:
    """Ranges of units of one turn, none across one of ``starts``."""
    begins = np.append(True, turns[1:] != turns[:-1])
    begins[starts] = True
    firsts = np.flatnonzero(begins)
    ends = np.append(firsts[1:], len(turns))
    spoken = turns[firsts] >= 0
    return firsts[spoken], ends[spoken]


def _starts(cuts: Flags) -> Integers:
    return np.concatenate([[0], np.flatnonzero(cuts) + 1])


def _hard_ends(firsts: Integers, hard: Flags, count: int) -> Integers:
    """The first unit after each range's piece between hard cuts."""
    bounds = np.append(np.flatnonzero(hard) + 1, count)
    ends: Integers = bounds[np.searchsorted(bounds, firsts, side="right")]
    return ends


def _causes(boundaries: Boundaries, hard: HardCuts) -> Integers:
    """For each unit why something begins with it, -1 where the gap before it is no topic's and no hard cut."""
    cause = np.full(len(boundaries.cuts) + 1, -1)
    cause[0] = CAUSES.index("start")
    for name, gaps in (
        ("topic", boundaries.topic),
        ("speaker", hard.speakers),
        ("pause", hard.pauses),
        ("start", hard.documents),
    ):
        cause[1:][gaps] = CAUSES.index(name)
    return cause


def _passages(
    firsts: Integers, ends: Integers, divisible: Flags, vectors: Vectors, words: Integers, settings: SegmentSettings
) -> tuple[tuple[Integers, Integers], Integers]:
    """Ranges of the passages of divisible ranges of too many words, and the place of the range that each is of."""
    total = np.concatenate([[0], np.cumsum(words)])
    too_long = divisible & (total[ends] - total[firsts] > settings.max_words) & (ends - firsts > 1)
    begins, stops, holder = [], [], []
    for place in np.flatnonzero(too_long).tolist():
        first, end = int(firsts[place]), int(ends[place])
        whole = np.zeros(end - first - 1, np.bool_)
        scores = depth(gap_similarity(vectors[first:end], whole, settings.window), whole)
        cuts = limit(whole, scores, words[first:end], end - first, settings.max_words)
        starts = _starts(cuts) + first
        begins.append(starts)
        stops.append(np.append(starts[1:], end))
        holder.append(np.full(len(starts), place))
    nothing = np.empty(0, np.int64)
    columns = [np.concatenate([nothing, *parts]) for parts in (begins, stops, holder)]
    return (columns[0], columns[1]), columns[2]
