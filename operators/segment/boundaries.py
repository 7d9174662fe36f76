"""From units to the gaps at which events begin, whatever the method: score the gaps, select, hold the lengths, refine.

Methods come in two families. A *curve* scores every gap from its neighbourhood and a rule cuts where it is high; all
documents of a batch are scored at once. An *optimisation* (posterior, change points, bisection) looks at one piece
between hard cuts at a time and holds the lengths itself. Pieces longer than `STRETCH` units are looked at in stretches:
what is cut in the first three quarters of a stretch stands, and the next one begins at the last of these cuts. So
memory does not grow with the document and a stream decides the same (`operators.segment.stream`).

Units weigh as much as they have words, to the power of 0.75: "okay." says little about the topic of a meeting, and a
long turn should not be an event of its own. (Of 0.5, 0.75 and 1 on five development sets; equal weights lose 4 points
of Pk on meetings.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mnemic.arrays import Flags, Floats, Integers, Vectors
from operators.segment import changepoint, divisive, posterior
from operators.segment.cost import cost_blocks, costs
from operators.segment.limits import every, in_passing, keep_apart, limit
from operators.segment.refine import refine
from operators.segment.select import at_rank, local_maxima, over_all_gaps, over_gaps_before, percentile, spans
from operators.segment.settings import CURVES, SegmentSettings
from operators.segment.similarity import depth, gap_similarity
from operators.segment.valleys import Valleys

STRETCH = 2048
"""Units that an optimisation looks at together."""

STANDS = 0.75
"""Share of a stretch in which cuts are decided; the rest is only looked ahead at."""

PENALTY = 1.2
"""Squared distance that one more segment must save by default, in average units (Choi, DialSeg711, TIAGE)."""

DEVIATIONS = 1.0

_POWER = 0.75


@dataclass(frozen=True)
class Units:
    """Units in order, of any number of documents.

    ``vectors`` is float32 [n, d]; ``weights`` float64 [n] are how much each counts. ``ends`` bool [n - 1] are gaps that
    no event crosses. ``signals`` are the columns of a language model by name, float64 [n], NaN where there is none.
    """

    vectors: Vectors
    weights: Floats
    ends: Flags
    signals: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class Boundaries:
    """Where events begin, and why: all [n - 1], one for each gap.

    ``score`` and ``threshold`` are NaN where a method has none; ``topic`` marks cuts that the method chose itself, the
    other ones are hard cuts, or made because an event was full.
    """

    cuts: Flags
    score: Floats
    threshold: Floats
    topic: Flags


def weights_of(words: Integers) -> Floats:
    """The weights of units with so many ``words``: float64 [n], a word counts less the longer a unit is."""
    return np.maximum(words, 1).astype(np.float64) ** _POWER


def find_boundaries(units: Units, settings: SegmentSettings) -> Boundaries:
    """Score, select and refine. For `fixed` with a stride only the beginnings of blocks are cuts."""
    if settings.method in ("fixed", "unit"):
        size = (settings.stride or settings.size) if settings.method == "fixed" else 1
        nothing = np.full(len(units.ends), np.nan)
        return Boundaries(every(size, units.ends), nothing, nothing, np.zeros(len(units.ends), np.bool_))
    boundaries = _by_curve(units, settings) if settings.method in CURVES else _by_optimisation(units, settings)
    if settings.refine is None:
        return boundaries
    moved = refine(units.vectors, boundaries.cuts, units.ends, settings.refine, min_units=settings.min_units)
    return replace(boundaries, cuts=_within(moved, boundaries.score, settings), topic=moved & ~units.ends)


def curve(units: Units, settings: SegmentSettings) -> Floats:
    """The score of every gap: higher where an event is more likely to begin; float64 [n - 1], NaN at hard cuts."""
    if settings.method == "texttiling":
        return depth(gap_similarity(units.vectors, units.ends, settings.window), units.ends)
    if settings.method == "cosine":
        return 1.0 - gap_similarity(units.vectors, units.ends, 1)
    scores = np.nan_to_num(units.signals[settings.method][1:])  # the event begins with the surprising unit
    scores[units.ends] = np.nan
    return scores


def _by_curve(units: Units, settings: SegmentSettings) -> Boundaries:
    scores, ends = curve(units, settings), units.ends
    candidates = local_maxima(scores, ends) if settings.method == "texttiling" else ~ends
    if settings.percentile is not None:
        threshold = percentile(scores, ends, settings.percentile)
    elif settings.count is not None or settings.mean_units is not None:
        lengths = np.array([last - first + 1 for first, last in spans(ends)])
        threshold = at_rank(scores, candidates, ends, np.array([_segments(settings, n) - 1 for n in lengths.tolist()]))
    else:
        deviations = DEVIATIONS if settings.deviations is None else settings.deviations
        if settings.trailing is not None:
            threshold = over_gaps_before(scores, ends, deviations, settings.trailing)
            chosen = candidates & (scores > threshold)
            cuts = in_passing(chosen, ends, settings.min_units, settings.max_units)
            return Boundaries(cuts, scores, threshold, cuts & chosen)
        threshold = over_all_gaps(scores, ends, deviations)
    chosen = keep_apart(ends | (candidates & (scores > threshold)), scores, ends, settings.min_units)
    return Boundaries(_within(chosen, scores, settings), scores, threshold, chosen & ~ends)


def _within(cuts: Flags, scores: Floats, settings: SegmentSettings) -> Flags:
    """The cuts, and more where an event has too many units."""
    ones = np.ones(len(cuts) + 1, np.int64)
    return limit(cuts, scores, ones, settings.max_units, len(ones), min_units=settings.min_units)


def _by_optimisation(units: Units, settings: SegmentSettings) -> Boundaries:
    solve = SOLVERS[settings.method]
    cuts, scores = units.ends.copy(), np.full(len(units.ends), np.nan)
    threshold = scores.copy()
    for first, last in spans(units.ends):
        vectors, weights = units.vectors[first : last + 1], units.weights[first : last + 1]
        solve_piece = solve if at_the_end(settings) else _in_stretches
        solution = solve_piece(vectors, weights, settings)
        cuts[first:last], scores[first:last], threshold[first:last] = solution
    return Boundaries(cuts, scores, threshold, cuts & ~units.ends)


Solution = tuple[Flags, Floats, Floats]
"""Cuts, scores and thresholds of the gaps of a piece."""


def at_the_end(settings: SegmentSettings) -> bool:
    """Whether an optimisation decides about the whole piece at once: bisection, and a number of events, do."""
    return settings.method == "divisive" or settings.count is not None


def standing(cuts: Flags) -> int:
    """Units of a full stretch that its ``cuts`` bool [n - 1] decide: up to the last cut in its first three quarters.

    Where there is none, up to the first one after, or the whole stretch: then the event is full.
    """
    places = np.flatnonzero(cuts) + 1
    early = places[places <= STANDS * (len(cuts) + 1)]
    if len(early):
        return int(early[-1])
    return int(places[0]) if len(places) else len(cuts) + 1


def _in_stretches(vectors: Vectors, weights: Floats, settings: SegmentSettings) -> Solution:
    """Solve as for a stream of units: a stretch at a time, each from the last cut that stands."""
    count = len(vectors)
    whole = np.zeros(count - 1, np.bool_), np.full(count - 1, np.nan), np.full(count - 1, np.nan)
    start = 0
    while True:
        end = min(start + STRETCH, count)
        solution = SOLVERS[settings.method](vectors[start:end], weights[start:end], settings)
        stands = end - start if end == count else standing(solution[0])
        decided = min(stands, end - start - 1)
        for values, part in zip(whole, solution, strict=True):
            values[start : start + decided] = part[:decided]
        if end == count:
            return whole
        whole[0][start + stands - 1] = True
        start += stands


def _segments(settings: SegmentSettings, units: int) -> int:
    """The number of events that the settings ask of ``units`` units."""
    if settings.count is not None:
        return settings.count
    return max(1, round(units / (settings.mean_units or units)))


def _posterior(vectors: Vectors, weights: Floats, settings: SegmentSettings) -> Solution:
    table = costs(vectors, _normalised(weights), settings.max_units)
    least = changepoint.possible_shortest(len(vectors), settings.min_units, settings.max_units)
    depths = Valleys(vectors)
    if settings.mean_units is None:
        result = posterior.at_its_own_granularity(table, depths, least)
    else:
        result = posterior.near_length(table, depths, settings.mean_units, least)
    return result.cuts, result.probability, np.full(len(result.cuts), np.nan)


def _changepoint(vectors: Vectors, weights: Floats, settings: SegmentSettings) -> Solution:
    count, mass = len(vectors), _normalised(weights)
    most = settings.max_units
    least = changepoint.possible_shortest(count, settings.min_units, most)
    if settings.count is None and settings.mean_units is None:
        cuts = changepoint.penalised(cost_blocks(vectors, mass, most), count, settings.penalty or PENALTY, least)
    else:
        cuts = changepoint.with_count(costs(vectors, mass, most), _segments(settings, count), least)
    nothing = np.full(count - 1, np.nan)
    return cuts, nothing, nothing


def _divisive(vectors: Vectors, weights: Floats, settings: SegmentSettings) -> Solution:
    segments = None if settings.count is None and settings.mean_units is None else _segments(settings, len(vectors))
    divided = divisive.divisions(
        vectors,
        _normalised(weights),
        segments=segments,
        penalty=settings.penalty or PENALTY,
        shortest=settings.min_units,
        longest=settings.max_units,
    )
    cuts, gains = divisive.cuts_of(divided, len(vectors))
    return cuts, gains, np.full(len(cuts), np.nan if segments is not None else settings.penalty or PENALTY)


def _normalised(weights: Floats) -> Floats:
    """The weights with a mean of 1, so that a penalty means the same for every text."""
    scaled: Floats = weights / weights.mean()
    return scaled


SOLVERS: dict[str, Callable[[Vectors, Floats, SegmentSettings], Solution]] = {
    "posterior": _posterior,
    "changepoint": _changepoint,
    "divisive": _divisive,
}
"""The optimisations: what they make of the vectors and weights of one piece or stretch."""
