"""A stream gives the events of the whole, however its units come, and keeps no more than it must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import QueryError, RecipeError
from operators.segment import boundaries
from operators.segment.boundaries import Units, find_boundaries
from operators.segment.settings import SegmentSettings
from operators.segment.stream import Stream, StreamedEvent

FOLLOW = [
    SegmentSettings(max_units=20),
    SegmentSettings(mean_units=6, min_units=2, max_units=20),
    SegmentSettings(method="changepoint", penalty=0.9, max_units=20),
    SegmentSettings(method="changepoint", mean_units=5),
    SegmentSettings(method="cosine", deviations=0.5, trailing=12, min_units=2, max_units=15),
    SegmentSettings(method="surprisal", deviations=1.0, trailing=30, min_units=3, max_units=15),
    SegmentSettings(method="fixed", size=7),
    SegmentSettings(method="unit"),
]


def sequence(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors that wander, weights, surprise and hard cuts before units."""
    generator = np.random.default_rng(seed)
    vectors = (
        generator.standard_normal((count, 6)) + np.repeat(generator.standard_normal((count, 6)), 6, axis=0)[:count]
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    surprise = generator.exponential(size=count)
    surprise[generator.random(count) < 0.05] = np.nan
    return (
        vectors.astype(np.float32),
        generator.uniform(0.5, 2, count),
        surprise,
        generator.random(count) < 0.01,
    )


@pytest.mark.parametrize("chosen", FOLLOW, ids=lambda chosen: f"{chosen.method}-{chosen.mean_units}")
def test_any_split_gives_the_events_of_the_whole(chosen: SegmentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "STRETCH", 48)
    monkeypatch.setattr("operators.segment.stream.STRETCH", 48)

    @given(st.integers(0, 10**6), st.lists(st.integers(0, 70), max_size=7))
    @settings(max_examples=20)
    def check(seed: int, sizes: list[int]) -> None:
        count = sum(sizes)
        vectors, weights, surprise, breaks = sequence(seed, count)
        stream, events = Stream(chosen), []
        for part in np.split(np.arange(count), np.cumsum(sizes)[:-1]) if sizes else []:
            pushed = {"weights": weights[part], "signal": surprise[part], "breaks": breaks[part]}
            events += stream.push(vectors[part], **pushed)
        events += stream.finish()
        assert found_ranges(events) == whole(chosen, vectors, weights, surprise, breaks)

    check()


def found_ranges(events: list[StreamedEvent]) -> list[tuple[int, int, float]]:
    return [(event.first, event.end, round(np.nan_to_num(event.score, nan=-1.0), 9)) for event in events]


def whole(chosen: SegmentSettings, *sequence: np.ndarray) -> list[tuple[int, int, float]]:
    vectors, weights, surprise, breaks = sequence
    if not len(vectors):
        return []
    boundaries = find_boundaries(Units(vectors, weights, breaks[1:], {"surprisal": surprise}), chosen)
    starts = [0, *(np.flatnonzero(boundaries.cuts) + 1).tolist()]
    scores = np.append(np.nan, boundaries.score)[starts]
    ends = [*starts[1:], len(vectors)]
    return [
        (first, end, round(np.nan_to_num(score, nan=-1.0), 9))
        for first, end, score in zip(starts, ends, scores, strict=True)
    ]


def test_what_waits_does_not_grow_with_the_stream() -> None:
    vectors, _weights, _surprise, _breaks = sequence(3, 9000)
    for chosen in (SegmentSettings(max_units=64), SegmentSettings(method="cosine", deviations=1.0, trailing=100)):
        stream = Stream(chosen)
        for start in range(0, len(vectors), 500):
            stream.push(vectors[start : start + 500])
            state = stream._state
            waiting = getattr(state, "_weights", np.empty(0)).size + getattr(state, "_sums", np.empty(0)).size
            assert waiting <= boundaries.STRETCH + 500


def test_events_of_surprise_need_no_vectors() -> None:
    stream = Stream(SegmentSettings(method="surprisal", trailing=64, min_units=8, max_units=128))
    surprise = np.random.default_rng(0).exponential(size=400)
    surprise[200] = 50.0
    events = [*stream.push(signal=surprise), *stream.finish()]
    assert 200 in [event.first for event in events]
    with pytest.raises(RecipeError, match="needs the vectors of its units"):
        stream.push()


@pytest.mark.parametrize(
    "chosen",
    [
        SegmentSettings(method="texttiling"),
        SegmentSettings(method="cosine", percentile=95),
        SegmentSettings(method="divisive"),
        SegmentSettings(method="changepoint", count=4),
        SegmentSettings(method="fixed", stride=2),
        SegmentSettings(refine="modularity"),
    ],
    ids=lambda chosen: chosen.method,
)
def test_what_is_decided_at_the_end_is_refused(chosen: SegmentSettings) -> None:
    with pytest.raises(RecipeError, match="cannot follow a stream: give it whole documents"):
        Stream(chosen)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30])
def test_a_unit_that_cannot_be_compared_is_told_and_leaves_the_stream_as_it_was(wrong):
    generator = np.random.default_rng(7)
    vectors = generator.standard_normal((40, 8)).astype(np.float32)
    stream, twin = Stream(SegmentSettings()), Stream(SegmentSettings())
    decided = stream.push(vectors[:20])
    broken = vectors[20:].copy()
    broken[3, 2] = wrong
    with pytest.raises(QueryError, match="unit 3 of these 20 holds NaN, infinite"):
        stream.push(broken)
    decided += [*stream.push(vectors[20:]), *stream.finish()]
    assert repr(decided) == repr([*twin.push(vectors), *twin.finish()])


@pytest.mark.parametrize(
    ("units", "sentence"),
    [
        ({"vectors": np.ones(8, np.float32)}, "in the shape"),
        ({"vectors": np.ones((2, 9), np.float32)}, "8 components, and now 9"),
        ({"vectors": np.array([["a"] * 8])}, "give numbers"),
        ({"vectors": np.ones((2, 8), np.float32), "weights": np.ones(3)}, "`weights` is not one finite number"),
        ({"vectors": np.ones((2, 8), np.float32), "weights": np.array([1, np.nan])}, "`weights` is not one finite"),
        ({"vectors": np.ones((2, 8), np.float32), "breaks": np.ones(3, bool)}, "`breaks` has the shape"),
        ({"signal": np.array([1.0, np.inf])}, "`signal` is not one finite number"),
        ({"signal": np.ones((2, 2))}, "`signal` is not one finite number"),
    ],
)
def test_units_of_another_shape_are_told(units, sentence):
    stream = Stream(SegmentSettings())
    stream.push(np.ones((3, 8), np.float32))
    with pytest.raises(QueryError, match=sentence):
        stream.push(**units)
