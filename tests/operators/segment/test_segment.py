"""Segmentation: scores against their literal definition, limits, and independence of the batch."""

import dataclasses
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
from operators.segment.score import depth, gap_similarity, score
from operators.segment.select import cutoff, every, keep_apart, limit, select

DIMENSION = 7  # no multiple of a vector register: tails of rows are exercised too


def make_units(document: str, vectors: np.ndarray, words: list[int], speakers: tuple[str, ...] = ("",)) -> pa.Table:
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


def similarity_by_definition(vectors: np.ndarray, window: int) -> list[float]:
    """Cosine of the means of the units on each side, gap by gap."""
    count = len(vectors)
    similarity = []
    for gap in range(count - 1):
        left = vectors[max(0, gap + 1 - window) : gap + 1].mean(axis=0)
        right = vectors[gap + 1 : gap + 1 + window].mean(axis=0)
        norm = np.linalg.norm(left) * np.linalg.norm(right)
        similarity.append(float(left @ right / norm) if norm else 0.0)
    return similarity


@given(st.integers(0, 10**6), st.lists(st.integers(1, 14), min_size=1, max_size=4), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_similarity_is_its_definition_within_each_document(seed: int, lengths: list[int], window: int) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.integers(-2, 3, (length, DIMENSION)).astype(np.float32) for length in lengths]
    ends = np.zeros(sum(lengths) - 1, bool)
    ends[np.cumsum(lengths)[:-1] - 1] = True
    vectors = np.concatenate(parts)
    similarity, scores = gap_similarity(vectors, ends, window), score(vectors, ends, window)
    assert np.isnan(similarity[ends]).all() and np.isnan(scores[ends]).all()
    start = 0
    for part in parts:
        expected = similarity_by_definition(part.astype(np.float64), window)
        here = similarity[start : start + len(part) - 1]
        np.testing.assert_allclose(here, expected, atol=1e-9)
        start += len(part)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_depth_climbs_plateaus_and_stops_at_documents(parts: list[list[float]]) -> None:
    expected: list[float] = []
    values: list[float] = []
    for part in parts:
        for gap, value in enumerate(part):
            left = gap
            while left and part[left - 1] >= part[left]:
                left -= 1
            right = gap
            while right + 1 < len(part) and part[right + 1] >= part[right]:
                right += 1
            expected.append(part[left] + part[right] - 2 * value)
        expected.append(np.nan)
        values += [*part, np.nan]
    similarity = np.array(values[:-1])
    np.testing.assert_array_equal(depth(similarity, np.isnan(similarity)), expected[:-1])


def test_the_cutoff_is_each_documents_own() -> None:
    scores = np.array([1.0, 2.0, 6.0, np.nan, 10.0, 10.0, np.nan, np.nan, 4.0])
    ends = np.isnan(scores)
    expected = [3 + 2 * np.std([1, 2, 6])] * 3 + [np.nan] + [10.0] * 2 + [np.nan] * 2 + [4.0]
    np.testing.assert_allclose(cutoff(scores, ends, 2.0), expected)


def test_only_local_maxima_above_the_cutoff_are_cut() -> None:
    scores = np.array([3.0, 5.0, 4.0, 1.0, 6.0, 6.0, np.nan, 9.0, 2.0])
    ends = np.isnan(scores)
    chosen = select(scores, ends, np.where(ends, np.nan, 2.5))
    assert np.flatnonzero(chosen).tolist() == [1, 4, 6, 7]


def test_blocks_are_counted_from_each_documents_start() -> None:
    ends = np.zeros(11, bool)
    ends[4] = True
    assert np.flatnonzero(every(2, ends)).tolist() == [1, 3, 4, 6, 8, 10]


def test_of_cuts_too_near_the_deeper_stays() -> None:
    scores = np.array([9.0, 0.1, 3.0, 5.0, 0.0, 0.0, 1.0, 0.0])
    cuts = scores > 0.5
    assert np.flatnonzero(keep_apart(cuts, scores, np.zeros(8, bool), 2)).tolist() == [3, 6]
    assert keep_apart(cuts, scores, np.zeros(8, bool), 1) is cuts


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=80),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_limits_always_hold_and_add_no_needless_cut(words: list[int], units: int, most: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    cuts = generator.random(len(words) - 1) < 0.1
    limited = limit(cuts, generator.random(len(words) - 1), np.array(words), units, most)
    assert (limited >= cuts).all()

    def sizes(chosen: np.ndarray) -> list[tuple[int, int]]:
        parts = np.split(np.array(words), np.flatnonzero(chosen) + 1)
        return [(len(part), int(part.sum())) for part in parts]

    assert all(count <= units and (total <= most or count == 1) for count, total in sizes(limited))
    if all(count <= units and total <= most for count, total in sizes(cuts)):
        assert (limited == cuts).all()


def test_an_overlong_piece_is_cut_at_its_deepest_gap() -> None:
    scores = np.zeros(9)
    scores[5] = 1.0
    assert np.flatnonzero(limit(np.zeros(9, bool), scores, np.ones(10, np.int64), 8, 99)).tolist() == [5]
    unknown = np.full(9, np.nan)
    assert np.flatnonzero(limit(np.zeros(9, bool), unknown, np.ones(10, np.int64), 4, 99)).tolist() == [3, 7]


def test_planted_topics_are_found() -> None:
    topics = np.repeat(np.eye(3, DIMENSION), 6, axis=0) + np.random.default_rng(0).normal(0, 0.05, (18, DIMENSION))
    rows = segment(Segment(), [make_units("d", topics, [4] * 18)])
    assert rows["first_unit"].to_pylist() == [0, 6, 12]
    assert rows["score"][0].as_py() is None
    assert all(row["score"] > row["threshold"] > 0 for row in rows.slice(1).to_pylist())


def test_an_event_says_what_it_is_made_of() -> None:
    operator = Segment(method="fixed", size=4)
    vectors = np.random.default_rng(1).standard_normal((6, DIMENSION)).astype(np.float16)
    units = make_units("d", vectors, [2, 1, 3, 1, 1, 2], ("bob", "", "ann"))
    rows = segment(operator, [units])
    assert rows.schema == operator.output(units.schema) == events(DIMENSION)
    first, second = rows.to_pylist()
    assert (first["first_unit"], first["end_unit"], second["first_unit"], second["end_unit"]) == (0, 4, 4, 6)
    assert first["id"] == hash_parts("event", "d", 0, 4, "event", operator.fingerprint)
    assert (first["previous"], first["next"]) == ("", second["id"])
    assert (second["previous"], second["next"], second["parent"]) == (first["id"], "", "")
    assert first["text"] == "w0 w0\nw1\nw2 w2 w2\nw3" and first["words"] == 7
    assert (first["start"], first["end"]) == (0, len(first["text"]))
    assert (first["speakers"], second["speakers"]) == (["ann", "bob"], ["ann"])
    assert first["start_time"] == datetime.fromtimestamp(1, UTC) and first["end_time"] == datetime.fromtimestamp(2, UTC)
    assert first["score"] is first["threshold"] is first["surprise"] is None
    mean = vectors[4:].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(second["vector"], mean / np.linalg.norm(mean), atol=1e-6)


def test_units_that_touch_are_joined_by_nothing_and_opposite_vectors_by_zero() -> None:
    units = make_units("d", np.array([[1.0, 0.0], [-1.0, 0.0]]), [1, 1])
    units = units.set_column(2, "start", pa.array([0, 2])).set_column(5, "time", pa.nulls(2, TIME))
    (row,) = segment(Segment(method="fixed"), [units]).to_pylist()
    assert row["text"] == "w0w1"
    assert row["vector"] == [0.0, 0.0]
    assert row["start_time"] is row["end_time"] is None


@pytest.mark.parametrize("method", ["texttiling", "fixed", "sentence"])
def test_any_order_and_grouping_of_documents_gives_the_same_rows(method: str) -> None:
    operator = Segment(method=method, min_units=1 if method == "sentence" else 2, max_units=9, max_words=90)

    @given(st.integers(0, 10**6), st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
    @settings(max_examples=20, deadline=None)
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

    check()


def test_the_fields_are_part_of_the_ids() -> None:
    units = random_units(0, [1])
    plain = segment(Segment(method="sentence"), units)["id"]
    assert plain != segment(Segment(method="sentence", window=4), units)["id"]
    assert len({Segment(**{field.name: 2}).fingerprint for field in dataclasses.fields(Segment)[1:]}) == 6


def test_a_document_of_one_unit_and_a_batch_of_none() -> None:
    (row,) = segment(Segment(), random_units(0, [1])).to_pylist()
    assert (row["score"], row["threshold"], row["end_unit"]) == (None, None, 1)
    empty = random_units(0, [1])[0].to_batches()[0].slice(0, 0)
    assert Segment().open("cpu")(empty)[0].equals(pa.RecordBatch.from_pylist([], schema=events(DIMENSION)))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(RecipeError, match="choose one of sentence, fixed, texttiling"):
        Segment(method="surprise")
    with pytest.raises(RecipeError, match="set all of them to at least 1"):
        Segment(max_units=2, min_units=3)
