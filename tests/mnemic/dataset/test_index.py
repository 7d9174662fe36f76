"""Indexes give what exact search gives, however they were built, and never what a condition rules out."""

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Dataset, Store
from mnemic.dataset.growth import add_fields, drop_fields
from mnemic.dataset.index import (
    TrainCentroids,
    Write,
    bm25,
    build,
    build_indexes,
    built,
    exact_neighbours,
    measure_recall,
    nearest,
    needs_indexing,
    plan,
    read_rows,
    recall_of,
    record_of_index,
    rows,
    rows_of_ids,
    search_exact,
    search_settings,
    search_text,
    search_vector,
    ties,
    unindexed_rows,
    write_record,
)
from mnemic.dataset.write import append, write_rows

WIDTH = 16
WORDS = np.array([f"word{number}" for number in range(60)])
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("start_time", pa.timestamp("us", tz="UTC")),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), WIDTH), nullable=False),
    ]
)


def table(start: int, stop: int, seed: int = 0) -> pa.Table:
    """Rows ``start`` to ``stop`` of a corpus of forty topics; the same rows whatever the range."""
    topics = np.random.default_rng(1).standard_normal((40, WIDTH))
    ids, texts, vectors = [], [], []
    for number in range(start, stop):
        random = np.random.default_rng([seed, number])
        vector = topics[number % 40] + 0.6 * random.standard_normal(WIDTH)
        vectors.append(vector / np.linalg.norm(vector))
        texts.append(" ".join(random.choice(WORDS, 6)))
        ids.append(f"{random.integers(2**63):016x}{number:016x}")
    times = [None if number % 7 == 0 else number * 1_000_000 for number in range(start, stop)]
    return pa.table(
        {
            "id": ids,
            "tenant": [f"t{number % 25}" for number in range(start, stop)],
            "level": ["event" if number % 5 == 0 else "turn" for number in range(start, stop)],
            "start_time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "text": texts,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(vectors).astype(np.float32)), WIDTH),
        },
        schema=SCHEMA,
    )


def dataset_of(folder, *tables: pa.Table) -> Dataset:
    made = Store(folder)["events"]
    made.create(tables[0].schema, {}, {})
    for part in tables:
        append(made, write_rows(made.uri, part, part.schema), {})
    return made


@pytest.fixture(autouse=True)
def small_thresholds(monkeypatch):
    """A vector index from 1,000 rows on, in parts of 500, used for all conditions that leave more than 20 rows."""
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 1000)
    monkeypatch.setattr(build, "ROWS_PER_PART", 500)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 20)


@pytest.fixture
def dataset(tmp_path):
    return dataset_of(tmp_path, table(0, 700), table(700, 1400), table(1400, 2000))


def queries(count: int) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.standard_normal((count, WIDTH)).astype(np.float32)


def brute_force(rows: pa.Table, query: np.ndarray, k: int) -> tuple[list[str], np.ndarray]:
    vectors = np.array(rows["vector"].to_pylist(), np.float64)
    query = query.astype(np.float64) / np.linalg.norm(query)
    distances = 1.0 - vectors @ query / np.linalg.norm(vectors, axis=1)
    ids = np.array(rows["id"].to_pylist())
    order = np.lexsort((ids, distances))[:k]
    return ids[order].tolist(), distances[order]


def test_exact_search_is_brute_force(dataset):
    snapshot = dataset.require()
    wanted = queries(5)
    for where in (None, "tenant = 't3'", "start_time > timestamp '1970-01-01 00:20:00'"):
        rows_of, distances = search_exact(snapshot, "vector", wanted, 10, where)
        for query, found, near in zip(wanted, rows_of, distances, strict=True):
            ids, expected = brute_force(snapshot.table(["id", "vector"], where), query, 10)
            assert read_rows(snapshot, found, ["id"])["id"].to_pylist() == ids
            assert np.allclose(near, expected, atol=1e-5)
            without_index = search_vector(snapshot, "vector", "id", query, 10, where)
            assert without_index["id"].to_pylist() == ids
    assert np.isinf(search_exact(snapshot, "vector", wanted, 90, "tenant = 't3'")[1][:, 80:]).all()


def test_exact_neighbours_do_not_depend_on_how_the_fragments_are_divided(dataset, monkeypatch):
    snapshot = dataset.require()
    whole = search_exact(snapshot, "vector", queries(7), 12)
    for size in (1, 700, 10_000):
        monkeypatch.setattr(build, "ROWS_PER_PART", size)

        def backwards(pinned, work):
            return [item.run(pinned) for item in reversed(work)]

        divided = exact_neighbours(snapshot, "vector", queries(7), 12, backwards)
        assert np.array_equal(divided[0], whole[0])
        assert np.allclose(divided[1], whole[1], atol=1e-6)


def test_the_recall_of_the_index_is_measured_and_its_settings_are_searched_with(dataset):
    build_indexes(dataset)
    assert needs_indexing(dataset.require()), "nothing is known about its recall"
    record = measure_recall(dataset.require(), "vector")
    assert record["recall_at_10"] >= 0.95 and record["sample"] == 200 and record["rows"] == 2000
    assert record["nprobes"] <= record["partitions"] == 16 and record["kind"] == "IVF_RQ"
    write_record(dataset.require(), "vector", record)
    snapshot = dataset.require()
    assert not needs_indexing(snapshot)
    assert record_of_index(snapshot, "vector") == record
    assert search_settings(snapshot, "vector").nprobes == record["nprobes"]
    wanted = np.array(table(9000, 9060)["vector"].to_pylist(), np.float32)
    found = [search_vector(snapshot, "vector", (), query, 10, None)["_rowid"].to_pylist() for query in wanted]
    assert recall_of(found, *search_exact(snapshot, "vector", wanted, 20)) >= 0.9


def test_recall_counts_what_is_as_near_as_the_last_true_neighbour():
    true, near = np.array([[1, 2, 3, 4]], np.uint64), np.array([[0.1, 0.2, 0.2, 0.3]], np.float32)
    assert recall_of([[1, 3]], true, near, 2) == 1.0
    assert recall_of([[1, 4]], true, near, 2) == 0.5
    assert recall_of([[4, 5]], true, near, 2) == 0.0
    assert recall_of([[]], true, np.full((1, 4), np.inf, np.float32), 2) == 1.0


def test_an_index_made_in_parts_answers_as_one_made_at_once(tmp_path, monkeypatch):
    tables = [table(start, start + 250) for start in range(0, 2000, 250)]
    centroids = {}

    def shuffled(snapshot, work):
        """Parts in another order; centroids are drawn once, so that both indexes have the same."""
        for number in np.random.default_rng(3).permutation(len(work)):
            item = work[number]
            if isinstance(item, TrainCentroids):
                if "made" not in centroids:
                    centroids["made"] = item.run(snapshot)
                yield centroids["made"]
            else:
                yield item.run(snapshot)

    answers = []
    for size in (300, 100_000):
        monkeypatch.setattr(build, "ROWS_PER_PART", size)
        made = dataset_of(tmp_path / str(size), *tables)
        build_indexes(made, workers=shuffled)
        snapshot = made.require()
        assert all(len(index.segments) == 1 and index.rows == 2000 for index in built(snapshot).values())
        texts = [
            search_text(snapshot, "text", "id", "word3 word5 word8", 40, where) for where in (None, "tenant = 't3'")
        ]
        near = [search_vector(snapshot, "vector", "id", query, 20, None) for query in queries(10)]
        times = snapshot.table(["id"], "start_time > timestamp '1970-01-01 00:20:00' AND level = 'event'")
        answers.append((texts, near, times))
    assert answers[0] == answers[1]


def test_a_condition_is_applied_before_the_search(dataset):
    build_indexes(dataset)
    snapshot = dataset.require()
    for where, expected in (
        ("tenant = 't3'", 80),
        ("level = 'turn'", 100),
        ("start_time >= timestamp '1970-01-01 00:32:30' AND tenant IN ('t1', 't2', 't3')", 5),
        ("tenant = 'nobody'", 0),
    ):
        there = snapshot.table(["id", "vector", "text"], where)
        allowed = set(there["id"].to_pylist())
        query = queries(1)[0]
        near = search_vector(snapshot, "vector", "id", query, 100, where)["id"].to_pylist()
        assert len(near) == expected and set(near) <= allowed
        words = search_text(snapshot, "text", "id", "word1 word2", 2000, where)["id"].to_pylist()
        holding = {row["id"] for row in there.to_pylist() if {"word1", "word2"} & set(row["text"].split())}
        assert set(words) == holding


@pytest.mark.parametrize("share", [0.8, 0.3, 0.02])
def test_a_flag_is_looked_at_after_the_search_and_nothing_is_lost(tmp_path, monkeypatch, share):
    corpus = table(0, 2000)
    flags = pa.array(np.random.default_rng(3).random(2000) < share)
    made = dataset_of(tmp_path, corpus.append_column(pa.field("leaf", pa.bool_(), nullable=False), flags))
    build_indexes(made)
    snapshot = made.require()
    asked: list[str | None] = []
    unspied = nearest._nearest

    def noted(snapshot, column, query, count, where, settings):
        asked.append(where)
        return unspied(snapshot, column, query, count, where, settings)

    monkeypatch.setattr(nearest, "_nearest", noted)
    words, recall = [], []
    for rows_to_flag in (0, 10_000):
        monkeypatch.setattr(ties, "FLAGGED_ROWS", rows_to_flag)
        for query in queries(8):
            near = set(search_vector(snapshot, "vector", "id", query, 60, "leaf")["id"].to_pylist())
            exact = brute_force(snapshot.table(["id", "vector"], "leaf"), query, 60)[0]
            recall.append(len(near & set(exact)) / len(exact))
            words.append(search_text(snapshot, "text", "id", " ".join(WORDS[:3]), 60, "leaf")["id"].to_pylist())
    assert words[:8] == words[8:]
    assert min(recall) > 0.7 and abs(np.mean(recall[:8]) - np.mean(recall[8:])) < 0.05, recall
    assert asked[8 if share == 0.8 else 16 :] == ["leaf"] * 8
    assert asked[0] is None and (share == 0.8 or asked[1] == "leaf")


def test_equal_scores_come_in_the_order_of_the_ids(tmp_path):
    copies = table(0, 1).to_pylist() * 300
    for number, row in enumerate(copies):
        row["id"] = f"{(number * 7919) % 300:032x}"
    same = pa.Table.from_pylist(copies, schema=SCHEMA)
    corpus = pa.concat_tables([same, table(1, 1200)])
    answers = []
    for seed in (0, 1):
        shuffled = corpus.take(pa.array(np.random.default_rng(seed).permutation(len(corpus))))
        made = dataset_of(tmp_path / str(seed), shuffled)
        build_indexes(made)
        query = np.array(copies[0]["vector"], np.float32)
        near = search_vector(made.require(), "vector", "id", query, 250, None)
        words = search_text(made.require(), "text", "id", copies[0]["text"], 250, None)
        for found, score in ((near, "_distance"), (words, "_score")):
            pairs = list(zip(found[score].to_pylist(), found["id"].to_pylist(), strict=True))
            sign = 1 if score == "_distance" else -1
            assert pairs == sorted(pairs, key=lambda pair: (sign * pair[0], pair[1]))
        answers.append((near["id"].to_pylist()[:150], words["id"].to_pylist()[:150]))
    assert len(answers[0][0]) == 150


def test_appended_rows_are_found_before_and_after_they_are_indexed(dataset):
    build_indexes(dataset)
    append(dataset, write_rows(dataset.uri, table(2000, 2100), SCHEMA), {})
    newest = table(2000, 2100).to_pylist()[42]
    for _ in range(2):
        snapshot = dataset.require()
        near = search_vector(snapshot, "vector", "id", np.array(newest["vector"]), 5, "tenant = 't17'")
        assert near["id"][0].as_py() == newest["id"]
        words = search_text(snapshot, "text", "id", newest["text"], 5, f"id = '{newest['id']}'")
        assert words["id"].to_pylist() == [newest["id"]]
        build_indexes(dataset)
    assert unindexed_rows(dataset.require(), "vector") == unindexed_rows(dataset.require(), "text") == 0
    assert {len(index.segments) for index in built(dataset.require()).values()} == {2}


def test_segments_are_merged_before_they_are_many(dataset):
    build_indexes(dataset)
    for number in range(9):
        append(dataset, write_rows(dataset.uri, table(2000 + 10 * number, 2010 + 10 * number), SCHEMA), {})
        build_indexes(dataset)
        assert max(len(index.segments) for index in built(dataset.require()).values()) <= plan.MOST_SEGMENTS
    index = built(dataset.require())["text"]
    assert index.rows == 2090 and len(index.segments) < 3
    found = search_text(dataset.require(), "text", "id", "word3 word5 word8", 40, None)
    drop = dataset_of(dataset.uri + "-anew", table(0, 2090))
    build_indexes(drop)
    anew = search_text(drop.require(), "text", "id", "word3 word5 word8", 40, None)
    assert found["id"].to_pylist() == anew["id"].to_pylist()
    assert np.allclose(found["_score"].to_numpy(), anew["_score"].to_numpy(), rtol=1e-6)


def test_a_vector_index_is_trained_anew_when_most_rows_are_new(dataset):
    build_indexes(dataset)
    before = built(dataset.require())["vector"]
    append(dataset, write_rows(dataset.uri, table(2000, 4500), SCHEMA), {})
    build_indexes(dataset)
    after = built(dataset.require())["vector"]
    assert len(after.segments) == 1 and after.rows == 4500 and after.segments != before.segments


def test_nothing_is_written_where_nothing_is_to_do(dataset):
    build_indexes(dataset)
    write_record(dataset.require(), "vector", measure_recall(dataset.require(), "vector"))
    version = dataset.require().version
    assert not needs_indexing(dataset.require())
    build_indexes(dataset)
    assert dataset.require().version == version


def test_an_index_never_outlives_its_column(dataset):
    """Vectors of two models must not meet in one index."""
    build_indexes(dataset)
    write_record(dataset.require(), "vector", measure_recall(dataset.require(), "vector"))
    drop_fields(dataset, ["vector"])
    assert "vector" not in built(dataset.require())
    add_fields(dataset, pa.schema([SCHEMA.field("vector")]), {"fingerprint": "another model"})
    assert "vector" not in built(dataset.require()) and record_of_index(dataset.require(), "vector") is None
    assert needs_indexing(dataset.require())


def test_an_index_never_outlives_its_rows(dataset):
    build_indexes(dataset)
    write_record(dataset.require(), "vector", measure_recall(dataset.require(), "vector"))
    dataset.create(SCHEMA, {}, {})
    append(dataset, write_rows(dataset.uri, table(5000, 6500), SCHEMA), {})
    assert built(dataset.require()) == {} and record_of_index(dataset.require(), "vector") is None
    found = search_vector(dataset.require(), "vector", "id", queries(1)[0], 5, None)
    assert found["id"].to_pylist() == brute_force(table(5000, 6500), queries(1)[0], 5)[0]


def test_only_columns_that_are_there_are_indexed(tmp_path):
    older = table(0, 300).select(["id", "level", "text", "vector"])
    made = dataset_of(tmp_path, older)
    build_indexes(made)
    assert set(built(made.require())) == {"id", "level", "text"}
    assert not needs_indexing(made.require())
    assert len(search_vector(made.require(), "vector", "id", queries(1)[0], 5, "level = 'turn'")) == 5


def test_segments_that_were_never_committed_are_removed_as_orphans(dataset):
    work = Write("text", "INVERTED", (0, 1))
    work.run(dataset.require())
    assert built(dataset.require()) == {}
    assert dataset.remove_orphans() > 0
    build_indexes(dataset)
    assert len(search_text(dataset.require(), "text", "id", "word3", 10, None)) == 10


@pytest.mark.parametrize("small", [0, 10_000])
def test_rows_are_read_in_the_order_asked_for(dataset, monkeypatch, small):
    monkeypatch.setattr(rows, "SMALL", small)
    dataset.delete("tenant = 't4'")
    snapshot = dataset.require()
    everything = snapshot.native.scanner(columns=["id", "level"], with_row_id=True).to_table()
    chosen = np.random.default_rng(2).permutation(len(everything))[:100]
    expected = everything.take(pa.array(chosen))
    found = read_rows(snapshot, expected["_rowid"].to_numpy(), ["id", "level"])
    assert found.to_pylist() == expected.drop_columns(["_rowid"]).to_pylist()
    assert found.schema == pa.schema([SCHEMA.field("id"), SCHEMA.field("level")])
    with pytest.raises(KeyError):
        read_rows(snapshot, [10**9], ["id"])
    numbers, there = rows_of_ids(snapshot, "id", [*expected["id"].to_pylist(), "nothing"])
    assert there.tolist() == [True] * 100 + [False]
    assert numbers[:-1].tolist() == expected["_rowid"].to_pylist()


def test_columns_are_held_once_reading_rows_has_cost_as_much(dataset, monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(rows, "PATIENCE", 30)
    snapshot = dataset.require()
    held = rows._held(snapshot)
    assert not held.worth_loading(["id"], 20)
    assert held.worth_loading(["id"], 20)
    monkeypatch.setattr(rows, "MOST_ROWS", 10)
    assert not rows._held(dataset.require()).worth_loading(["id"], 10_000)


UNSPACED = {
    "采购订单自动审批流程。其他内容在这里。": ("采购订单自动审批流程", "审批流程", "订单"),
    "東京都に住んでいます。ベクトル検索エンジンを作る。": ("東京都", "検索", "エンジン"),
    "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ": ("ภาษาไทย", "ระหว่าง"),
    "ພາສາລາວບໍ່ມີຍະຫວ່າງ": ("ພາສາລາວ",),
    "ភាសាខ្មែរមិនមានចន្លោះ": ("ភាសាខ្មែរ",),
    "မြန်မာစာတွင်နေရာလွတ်မရှိပါ": ("မြန်မာ",),
}


def with_texts(texts: list[str], start: int = 0) -> pa.Table:
    rows = table(start, start + len(texts))
    return rows.set_column(rows.column_names.index("text"), "text", pa.array(texts, pa.large_string()))


def texts_found(dataset: Dataset, query: str) -> list[str]:
    snapshot = dataset.require()
    texts = dict(
        zip(snapshot.table(["id"])["id"].to_pylist(), snapshot.table(["text"])["text"].to_pylist(), strict=True)
    )
    return [texts[one] for one in search_text(snapshot, "text", "id", query, 5, None)["id"].to_pylist()]


def test_words_are_found_inside_runs_that_are_written_without_spaces(tmp_path):
    made = dataset_of(tmp_path, with_texts([*UNSPACED, "The approval of orders.", "Nothing of it."]))
    build_indexes(made)
    assert built(made.require())["text"].tokenizer == bm25.UNSPACED
    for text, words in UNSPACED.items():
        for word in words:
            assert texts_found(made, word)[:1] == [text], word
    assert texts_found(made, "approve order") == ["The approval of orders."]


def test_an_index_of_spaced_text_is_what_it_was(dataset):
    """Its tokenizer, and so the scores of every query, are those of before there was another one."""
    build_indexes(dataset)
    assert built(dataset.require())["text"].tokenizer == bm25.SPACED
    append(dataset, write_rows(dataset.uri, table(5000, 5100), SCHEMA), {})
    before = built(dataset.require())["text"].segments
    build_indexes(dataset)
    assert set(before) < set(built(dataset.require())["text"].segments), "a segment was added, and nothing made anew"


def test_an_old_index_answers_until_rows_come_that_it_cuts_wrongly(tmp_path, monkeypatch):
    whole, inner = "采购订单自动审批流程", "审批流程"
    made = dataset_of(tmp_path, with_texts([f"{whole}。", "The approval of orders."]))
    with monkeypatch.context() as before:
        before.setattr(build, "tokenizer", lambda *_: bm25.SPACED)
        build_indexes(made)
    assert texts_found(made, whole) == [f"{whole}。"] and texts_found(made, inner) == []
    append(made, write_rows(made.uri, with_texts(["More orders."], 10), SCHEMA), {})
    build_indexes(made)
    assert built(made.require())["text"].tokenizer == bm25.SPACED and texts_found(made, whole) == [f"{whole}。"]
    append(made, write_rows(made.uri, with_texts(["订单审批流程"], 20), SCHEMA), {})
    build_indexes(made)
    assert not needs_indexing(made.require())
    assert set(texts_found(made, inner)) == {f"{whole}。", "订单审批流程"}
    assert len(texts_found(made, "orders")) == 2
