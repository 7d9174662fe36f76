"""Events of units that keep coming: what is open is carried, what is decided is given out.

Any split of the units into parts gives the same events as `find_boundaries` gives for all of them. That is possible for
methods that look back over a bounded number of gaps (``trailing``), count (blocks), or look ahead a bounded stretch
(the posterior, change points); memory does not grow with the document. The other methods cut by statistics of the whole
document and decide at its end: give them the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mnemic.arrays import Flags, Floats, Vectors
from mnemic.errors import QueryError, RecipeError
from operators.segment.boundaries import DEVIATIONS, SOLVERS, STRETCH, at_the_end, standing
from operators.segment.limits import passing
from operators.segment.select import trailing
from operators.segment.settings import CURVES, SegmentSettings
from operators.segment.similarity import gap_similarity

LARGEST = 1e15
"""Largest component of a vector: squares of larger ones overflow in float32."""


@dataclass(frozen=True)
class StreamedEvent:
    """An event: units [first, end) counted from the start of the stream, and the score of the gap before it."""

    first: int
    end: int
    score: float  # NaN where there is none


class Stream:
    """Takes units as they come, gives events as they are decided.

    Raises `RecipeError` for settings whose boundaries depend on the whole document.
    """

    def __init__(self, settings: SegmentSettings) -> None:
        self._settings = settings
        self._width: int | None = None
        self._state: _Passing | _Stretching
        if settings.method in SOLVERS and not at_the_end(settings) and settings.refine is None:
            self._state = _Stretching(settings)
        elif settings.refine is None and settings.stride is None and _decides_in_passing(settings):
            self._state = _Passing(settings)
        else:
            raise RecipeError(
                f"The segmenter {settings.method} with these settings decides at a document's end and cannot follow a "
                "stream: give it whole documents, or choose posterior or changepoint (with a penalty or mean_units), "
                "fixed, unit, or a method that takes `trailing`, without `refine` and `stride`."
            )

    def push(
        self,
        vectors: Vectors | None = None,
        *,
        weights: Floats | None = None,
        signal: Floats | None = None,
        breaks: Flags | None = None,
    ) -> list[StreamedEvent]:
        """The events that these units decide.

        ``vectors`` is float32 [n, d]; ``weights`` float64 [n] are 1 by default. ``signal`` float64 [n] is the surprise
        of each unit (NaN where there is none), for the methods that cut by it and need no vectors. ``breaks`` bool [n]
        marks units with a hard cut before them. Raises `QueryError` for other shapes and for NaN or infinite numbers,
        and takes no unit then.
        """
        units = signal if vectors is None else vectors
        if units is None:
            raise RecipeError("A stream needs the vectors of its units, or their surprise as `signal`; give one.")
        count = len(units)
        hard = np.zeros(count, np.bool_) if breaks is None else np.asarray(breaks, np.bool_)
        if vectors is not None:
            vectors = self._checked(np.asarray(vectors))
        weights = np.ones(count) if weights is None else _numbers("weights", weights, count)
        if signal is not None:
            signal = np.asarray(signal, np.float64)
            _numbers("signal", np.where(np.isnan(signal), 0.0, signal), count)
        if hard.shape != (count,):
            raise QueryError(f"`breaks` has the shape {list(hard.shape)} for {count} units; give one for each.")
        return list(
            self._state.push(
                np.zeros((count, 1), np.float32) if vectors is None else vectors,
                weights,
                np.zeros(count) if signal is None else signal,
                hard,
            )
        )

    def _checked(self, vectors: Vectors) -> Vectors:
        """``vectors``, if they can be compared with each other and with those before. Raises `QueryError` if not."""
        if vectors.ndim != 2 or vectors.dtype.kind not in "iuf":
            raise QueryError(
                f"Units of a stream have vectors of {vectors.dtype} in the shape {list(vectors.shape)}; "
                "give numbers [units, components]."
            )
        if not len(vectors):
            return vectors
        if self._width not in (None, vectors.shape[1]):
            raise QueryError(
                f"Units of this stream have {self._width} components, and now {vectors.shape[1]}; give one kind of "
                "vectors, or begin another stream."
            )
        largest = np.abs(vectors).max(axis=1, initial=0.0)
        wrong = np.flatnonzero(~(largest <= LARGEST))
        if len(wrong):
            raise QueryError(
                f"The vector of unit {int(wrong[0])} of these {len(vectors)} holds NaN, infinite or numbers over "
                f"{LARGEST:.0e}; leave the unit out, or look at how it was computed. None of them was taken."
            )
        self._width = vectors.shape[1]
        return vectors

    def finish(self) -> list[StreamedEvent]:
        """The events that are still open."""
        return list(self._state.finish())


def _numbers(name: str, values: Floats, count: int) -> Floats:
    """``values``, if they are one finite number for each of ``count`` units. Raises `QueryError` if not."""
    numbers = np.asarray(values)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iufb" or not np.isfinite(numbers).all():
        raise QueryError(f"`{name}` is not one finite number for each of {count} units; leave out NaN and infinite.")
    return numbers


def _decides_in_passing(settings: SegmentSettings) -> bool:
    return settings.method in ("fixed", "unit") or (settings.method in CURVES and settings.trailing is not None)


class _Passing:
    """Decides a cut when its unit comes."""

    def __init__(self, settings: SegmentSettings) -> None:
        self._settings = settings
        self._last: Vectors | None = None
        self._sums = np.zeros((1, 2))
        self._length = 0
        self._units = 0
        self._first, self._score = 0, float("nan")

    def push(self, vectors: Vectors, weights: Floats, signal: Floats, breaks: Flags) -> Iterator[StreamedEvent]:
        if not len(vectors):
            return
        earlier = 0 if self._last is None else 1
        joined = vectors if self._last is None else np.concatenate([self._last, vectors])
        ends, incoming = breaks[1 - earlier :], signal[1 - earlier :]
        before = self._units - earlier  # the first of ``joined``
        cuts, scores = self._decide(joined, incoming, ends)
        for gap in np.flatnonzero(cuts).tolist():
            yield StreamedEvent(self._first, before + gap + 1, self._score)
            self._first, self._score = before + gap + 1, float(scores[gap])
        self._last, self._units = vectors[-1:], self._units + len(vectors)

    def _decide(self, vectors: Vectors, signal: Floats, ends: Flags) -> tuple[Flags, Floats]:
        settings = self._settings
        if settings.method in ("fixed", "unit"):
            size = settings.size if settings.method == "fixed" else 1
            cuts, self._length = passing(np.zeros_like(ends), ends, 1, size, self._length)
            return cuts, np.full(len(ends), np.nan)
        scores = 1.0 - gap_similarity(vectors, ends, 1) if settings.method == "cosine" else np.nan_to_num(signal)
        scores[ends] = np.nan
        deviations = DEVIATIONS if settings.deviations is None else settings.deviations
        threshold, self._sums = trailing(scores, ends, deviations, settings.trailing or 1, self._sums)
        chosen = ~ends & (scores > threshold)
        cuts, self._length = passing(chosen, ends, settings.min_units, settings.max_units, self._length)
        return cuts, scores

    def finish(self) -> Iterator[StreamedEvent]:
        if self._units > self._first:
            yield StreamedEvent(self._first, self._units, self._score)


class _Stretching:
    """Units wait until a stretch is full or ends."""

    def __init__(self, settings: SegmentSettings) -> None:
        self._settings = settings
        self._vectors: Vectors | None = None
        self._weights = np.zeros(0)
        self._breaks = np.zeros(0, np.bool_)
        self._begin = 0  # place in the stream of the unit that waits longest
        self._first, self._score = 0, float("nan")

    def push(self, vectors: Vectors, weights: Floats, signal: Floats, breaks: Flags) -> Iterator[StreamedEvent]:
        self._vectors = vectors if self._vectors is None else np.concatenate([self._vectors, vectors])
        self._weights = np.concatenate([self._weights, weights])
        self._breaks = np.concatenate([self._breaks, breaks])
        yield from self._decided(at_end=False)

    def finish(self) -> Iterator[StreamedEvent]:
        yield from self._decided(at_end=True)

    def _decided(self, *, at_end: bool) -> Iterator[StreamedEvent]:
        while self._vectors is not None and len(self._vectors):
            hard = np.flatnonzero(self._breaks[1:]) + 1
            piece = int(hard[0]) if len(hard) else len(self._vectors)
            if piece <= STRETCH and not (len(hard) or at_end):
                return
            size = min(piece, STRETCH)
            cuts, scores, _ = SOLVERS[self._settings.method](self._vectors[:size], self._weights[:size], self._settings)
            stands = size if size == piece else standing(cuts)
            for gap in np.flatnonzero(cuts[: stands - 1]).tolist():
                yield StreamedEvent(self._first, self._begin + gap + 1, self._score)
                self._first, self._score = self._begin + gap + 1, float(scores[gap])
            end = self._begin + stands
            yield StreamedEvent(self._first, end, self._score)
            self._first, self._score = end, float(scores[stands - 1]) if stands - 1 < len(scores) else float("nan")
            self._begin = end
            self._vectors, self._weights = self._vectors[stands:], self._weights[stands:]
            self._breaks = self._breaks[stands:]
