"""The operator: what events say, at every level, by every method, and that no batch changes them."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.ids import hash_parts
from mnemic.schema import TIME, events
from operators.segment import Segment

OWNERS = ("source", "collection", "tenant", "session")
DIMENSION = 7  # no multiple of a vector register: tails of rows are exercised too


def make_units(
    document: str,
    vectors: np.ndarray,
    words: list[int],
    speakers: tuple[str, ...] = ("",),
    turns: list[str] | None = None,
) -> pa.Table:
    count = len(vectors)
    texts = [" ".join([f"w{i}"] * length) for i, length in enumerate(words)]
    starts = np.cumsum([0] + [len(text) + 1 for text in texts])[:-1]
    flat = pa.array(vectors.astype(np.float16).reshape(-1))
    columns = {
        "document": pa.array([document] * count),
        "ordinal": pa.array(np.arange(count, dtype=np.int32)),
        "start": pa.array(starts),
        "end": pa.array(starts + [len(text) for text in texts]),
        "speaker": pa.array([speakers[i % len(speakers)] for i in range(count)]),
        "time": pa.array([i * 10**6 if i % 3 else None for i in range(count)], TIME),
        "turn": pa.array(turns or [""] * count),
        **{name: pa.array([f"{name} of {document}"] * count) for name in OWNERS},
        "text": pa.array(texts, pa.large_string()),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    return pa.table(columns)


def random_units(seed: int, lengths: list[int]) -> list[pa.Table]:
    generator = np.random.default_rng(seed)
    return [
        make_units(
            f"document {number}",
            generator.standard_normal((length, DIMENSION)),
            generator.integers(1, 30, length).tolist(),
            ("", "ann", "bob"),
        )
        for number, length in enumerate(lengths)
    ]


def segment(operator: Segment, tables: list[pa.Table]) -> pa.Table:
    rows, rejects = operator.open("cpu")(pa.concat_tables(tables).combine_chunks().to_batches()[0])
    assert rejects.num_rows == 0
    return pa.Table.from_batches([rows])


def at_level(rows: pa.Table, level: str) -> list[dict]:
    return [row for row in rows.to_pylist() if row["level"] == level]


def ranges(rows: list[dict]) -> list[tuple[int, int]]:
    return [(row["first_unit"], row["end_unit"]) for row in rows]


def test_planted_topics_are_found() -> None:
    topics = np.repeat(np.eye(3, DIMENSION), 6, axis=0) + np.random.default_rng(0).normal(0, 0.05, (18, DIMENSION))
    units = make_units("d", topics, [4] * 18)
    for operator in (
        Segment(),
        Segment(mean_units=6),
        Segment(method="texttiling"),
        Segment(method="changepoint", count=3),
        Segment(method="divisive", mean_units=6),
        Segment(method="cosine", percentile=88),
    ):
        events = at_level(segment(operator, [units]), "event")
        assert ranges(events) == [(0, 6), (6, 12), (12, 18)], operator
        assert [row["cause"] for row in events] == ["start", "topic", "topic"]
    scored = at_level(segment(Segment(), [units]), "event")
    assert scored[0]["score"] is None and all(row["score"] > 0.9 for row in scored[1:])
    deep = at_level(segment(Segment(method="texttiling"), [units]), "event")
    assert all(row["score"] > row["threshold"] > 0 for row in deep[1:])


def test_an_event_says_what_it_is_made_of() -> None:
    operator = Segment(method="fixed", size=4, representatives=2)
    vectors = np.random.default_rng(1).standard_normal((6, DIMENSION)).astype(np.float16)
    units = make_units("d", vectors, [2, 1, 3, 1, 1, 2], ("bob", "", "ann"))
    rows = segment(operator, [units])
    assert rows.schema == operator.output(units.schema) == events(DIMENSION)
    (session,), (first, second) = at_level(rows, "session"), at_level(rows, "event")
    assert ranges([session, first, second]) == [(0, 6), (0, 4), (4, 6)]
    assert first["id"] == hash_parts("event", "d", 0, 4, "event", operator.fingerprint)
    assert (first["previous"], first["next"]) == ("", second["id"])
    assert (second["previous"], second["next"], second["parent"]) == (first["id"], "", session["id"])
    assert session["parent"] == session["previous"] == session["next"] == ""
    assert (session["leaf"], first["leaf"]) == (False, True)
    assert (session["cause"], first["cause"], second["cause"]) == ("start", "start", "block")
    assert first["text"] == "w0 w0\nw1\nw2 w2 w2\nw3" and first["words"] == 7 and session["words"] == 10
    assert (first["start"], first["end"]) == (0, len(first["text"]))
    assert (first["speakers"], second["speakers"]) == (["ann", "bob"], ["ann"])
    assert first["start_time"] == datetime.fromtimestamp(1, UTC) and first["end_time"] == datetime.fromtimestamp(2, UTC)
    assert first["score"] is first["threshold"] is first["surprise"] is None
    mean = vectors[4:].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(second["vector"], mean / np.linalg.norm(mean), atol=1e-6)
    near = vectors[:4].astype(np.float64) @ np.array(first["vector"])
    assert first["representatives"] == np.argsort(-near)[:2].tolist()
    assert sorted(second["representatives"]) == [4, 5]


def test_units_that_touch_are_joined_by_nothing_and_opposite_vectors_by_zero() -> None:
    units = make_units("d", np.array([[1.0, 0.0], [-1.0, 0.0]]), [1, 1])
    units = units.set_column(2, "start", pa.array([0, 2])).set_column(5, "time", pa.nulls(2, TIME))
    (row,) = at_level(segment(Segment(method="fixed"), [units]), "event")
    assert row["text"] == "w0w1"
    assert row["vector"] == [0.0, 0.0]
    assert row["start_time"] is row["end_time"] is None


def test_long_events_come_in_passages_and_leaves_tile_the_document() -> None:
    units = make_units("d", np.ones((12, DIMENSION)), [5] * 12)
    rows = segment(Segment(method="fixed", size=8, max_words=15), [units])
    one, other = at_level(rows, "event")
    passages = at_level(rows, "passage")
    assert (one["leaf"], other["leaf"]) == (False, False) and all(row["leaf"] for row in passages)
    assert ranges(passages) == [(0, 3), (3, 6), (6, 8), (8, 11), (11, 12)]
    assert [row["parent"] for row in passages] == [one["id"]] * 3 + [other["id"]] * 2
    assert [row["cause"] for row in passages] == ["start", "length", "length", "block", "length"]
    assert passages[2]["next"] == passages[3]["id"]
    assert at_level(segment(Segment(method="unit", max_words=3), [units]), "passage") == [], "a unit is never divided"


def test_passages_are_cut_where_the_units_differ_most() -> None:
    vectors = np.repeat(np.eye(2, DIMENSION), [7, 5], axis=0)
    rows = segment(Segment(method="fixed", size=12, max_words=50), [make_units("d", vectors, [5] * 12)])
    assert ranges(at_level(rows, "passage")) == [(0, 7), (7, 12)]


def test_pauses_end_sessions_and_speakers_end_events() -> None:
    units = make_units("d", np.ones((8, DIMENSION)), [1] * 8, ("ann", "ann", "bob", "bob"))
    times = [0, 1, None, 3, 103, 104, None, 300]
    units = units.set_column(5, "time", pa.array([None if t is None else t * 10**6 for t in times], TIME))
    rows = segment(Segment(max_pause=60, by_speaker=True), [units])
    sessions, events = at_level(rows, "session"), at_level(rows, "event")
    assert ranges(sessions) == [(0, 4), (4, 7), (7, 8)]
    assert [row["cause"] for row in sessions] == ["start", "pause", "pause"]
    assert sessions[1]["previous"] == sessions[0]["id"], "sessions of one document follow each other"
    assert ranges(events) == [(0, 2), (2, 4), (4, 6), (6, 7), (7, 8)]
    assert [row["cause"] for row in events] == ["start", "speaker", "pause", "speaker", "pause"]
    assert events[1]["previous"] == events[0]["id"] and events[2]["previous"] == "" == events[1]["next"]
    assert [row["parent"] for row in events] == [sessions[place]["id"] for place in (0, 0, 1, 1, 2)]


def test_turns_are_the_leaves_of_a_conversation() -> None:
    turns = ["a", "b", "b", "b", "c", "c", "d", "a"]
    units = make_units("d", np.ones((8, DIMENSION)), [1, 30, 30, 30, 1, 1, 1, 1], ("ann", "bob"), turns)
    other = make_units("e", np.ones((2, DIMENSION)), [1, 1])
    rows = segment(Segment(method="fixed", size=5, max_words=70), [units, other])
    spoken, passages = at_level(rows, "turn"), at_level(rows, "passage")
    assert [(row["document"], *row["turns"], row["first_unit"], row["end_unit"]) for row in spoken] == [
        ("d", "a", 0, 1),
        ("d", "b", 1, 4),
        ("d", "c", 4, 5),
        ("d", "c", 5, 6),
        ("d", "d", 6, 7),
        ("d", "a", 7, 8),
    ], "an event ends a turn, and other text has none"
    assert ranges(passages) in ([(1, 3), (3, 4)], [(1, 2), (2, 4)])
    by_id = {row["id"]: row for row in rows.to_pylist()}
    assert {by_id[row["parent"]]["level"] for row in spoken} == {"event"}
    assert {row["parent"] for row in passages} == {spoken[1]["id"]}
    for row in spoken + passages:
        parent = by_id[row["parent"]]
        assert parent["first_unit"] <= row["first_unit"] < row["end_unit"] <= parent["end_unit"]
    leaves = sorted((row["document"], row["first_unit"], row["end_unit"]) for row in by_id.values() if row["leaf"])
    assert leaves[0] == ("d", 0, 1) and all(
        (a[2] == b[1] if a[0] == b[0] else b[1] == 0) for a, b in itertools.pairwise(leaves)
    )
    assert [row["cause"] for row in spoken] == ["start", "turn", "turn", "block", "turn", "turn"]
    (first, _) = [row for row in at_level(rows, "event") if row["document"] == "d"]
    assert first["turns"] == ["a", "b", "c"] and first["tenant"] == "tenant of d" and not first["leaf"]


def test_blocks_with_a_stride_overlap() -> None:
    units = make_units("d", np.ones((10, DIMENSION)), [1] * 10)
    rows = at_level(segment(Segment(method="fixed", size=4, stride=2), [units]), "event")
    assert ranges(rows) == [(0, 4), (2, 6), (4, 8), (6, 10)]


def test_surprise_is_a_signal_and_the_mean_of_an_event() -> None:
    units = make_units("d", np.ones((6, DIMENSION)), [1] * 6)
    surprise = pa.array([None, 1.0, 1.5, 9.0, 1.0, 0.5], pa.float32())
    rows = at_level(segment(Segment(method="surprisal"), [units.append_column("surprisal", surprise)]), "event")
    assert ranges(rows) == [(0, 3), (3, 6)], "the surprising unit begins the event"
    assert [row["surprise"] for row in rows] == [1.25, 3.5]
    assert rows[1]["score"] == 9.0 and rows[1]["score"] > rows[1]["threshold"]


EVERY_METHOD = [
    Segment(min_units=2, max_units=9, max_words=60),
    Segment(mean_units=4, max_units=9, max_words=60),
    Segment(method="changepoint", min_units=2, max_units=9),
    Segment(method="changepoint", count=3),
    Segment(method="divisive", penalty=0.8, max_units=12),
    Segment(method="texttiling", min_units=2, max_units=9, max_words=90),
    Segment(method="texttiling", refine="modularity", min_units=2),
    Segment(method="changepoint", refine="least_squares"),
    Segment(method="cosine", deviations=0.5, trailing=6),
    Segment(method="cosine", percentile=80),
    Segment(method="fixed", max_words=20),
    Segment(method="unit", max_words=20),
]


@pytest.mark.parametrize("operator", EVERY_METHOD, ids=lambda operator: operator.method)
def test_any_order_and_grouping_of_documents_gives_the_same_rows(operator: Segment) -> None:
    @given(st.integers(0, 10**6), st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
    @settings(max_examples=12)
    def check(seed: int, lengths: list[int], data: st.DataObject) -> None:
        tables = random_units(seed, lengths)
        whole = segment(operator, tables)
        generator = np.random.default_rng(seed + 1)
        order = data.draw(st.permutations(range(len(tables))))
        at = data.draw(st.integers(0, len(tables)))
        parts = [
            segment(operator, [table.take(generator.permutation(len(table))) for table in group])
            for group in ([tables[i] for i in order[:at]], [tables[i] for i in order[at:]])
            if group
        ]
        assert pa.concat_tables(parts).sort_by("id").equals(whole.sort_by("id"))
        for number, length in enumerate(lengths):
            mine = [row for row in whole.to_pylist() if row["document"] == f"document {number}"]
            for kind in ([row for row in mine if row["leaf"]], [row for row in mine if row["level"] == "event"]):
                tiles = sorted(ranges(kind))
                assert tiles[0][0] == 0 and tiles[-1][1] == length
                assert all(one[1] == other[0] for one, other in itertools.pairwise(tiles))
            sizes = [row["end_unit"] - row["first_unit"] for row in mine if row["level"] == "event"]
            assert max(sizes) <= operator.max_units
            assert operator.method in ("fixed", "unit", "texttiling") or min(sizes) >= min(operator.min_units, length)

    check()


@pytest.mark.parametrize("method", ["posterior", "changepoint", "divisive", "texttiling", "cosine"])
def test_the_longest_length_holds_where_the_shortest_cannot(method: str) -> None:
    for length in range(1, 24):
        rows = at_level(segment(Segment(method=method, min_units=4, max_units=5), random_units(1, [length])), "event")
        assert max(row["end_unit"] - row["first_unit"] for row in rows) <= 5


def test_the_fields_are_part_of_the_ids() -> None:
    units = random_units(0, [1])
    plain = segment(Segment(method="unit"), units)["id"]
    assert plain != segment(Segment(method="unit", window=4), units)["id"]
    changed = ("mean_units", "size", "min_units", "max_units", "max_words", "max_pause", "representatives")
    assert len({Segment(**{name: 3}).fingerprint for name in changed}) == len(changed)


def test_only_settings_that_cut_otherwise_than_before_have_a_new_version() -> None:
    before = [
        Segment(mean_units=8),
        Segment(method="changepoint"),
        Segment(method="texttiling"),
        Segment(method="unit"),
    ]
    assert Segment().version == Segment(max_units=64).version == 4
    assert {segmenter.version for segmenter in before} == {3}


def test_a_document_of_one_unit_and_a_batch_of_none() -> None:
    session, row = segment(Segment(), random_units(0, [1])).to_pylist()
    assert (row["score"], row["threshold"], row["end_unit"], row["parent"]) == (None, None, 1, session["id"])
    empty = random_units(0, [1])[0].to_batches()[0].slice(0, 0)
    assert Segment().open("cpu")(empty)[0].equals(pa.RecordBatch.from_pylist([], schema=events(DIMENSION)))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"method": "topics"}, "choose one of posterior, changepoint"),
        ({"max_units": 2, "min_units": 3}, "set max_units to no less than min_units"),
        ({"deviations": float("nan"), "method": "texttiling"}, "deviations is nan; give a finite number"),
        ({"penalty": 1.0}, "has no use for `penalty`: it takes mean_units"),
        ({"method": "changepoint", "count": 3, "penalty": 1.0}, "cannot follow count and penalty at once"),
        ({"method": "texttiling", "trailing": 9}, "`trailing` goes with `deviations` of the methods cosine"),
        ({"method": "fixed", "size": 4, "stride": 5}, "leave units out; lower stride"),
        ({"method": "posterior", "stride": 5}, "`stride` goes with `method: fixed`"),
        ({"mean_units": 2000}, "choose mean_units between them"),
        ({"refine": "magic"}, "choose one of modularity, conductance"),
        ({"method": "fixed", "refine": "modularity"}, "nothing to refine"),
        ({"window": 0, "max_words": 0}, "window is 0; give a number of at least 1"),
    ],
)
def test_impossible_settings_are_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        Segment(**fields)
