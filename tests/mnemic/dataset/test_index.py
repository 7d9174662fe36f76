"""Indexes give what exact search gives, however they were built, and never what a condition rules out."""

import numpy as np
import pyarrow as pa
import pytest
from indexed_rows import SCHEMA, WORDS, brute_force, dataset_of, lower_thresholds, queries, table

from mnemic.dataset.index import (
    TrainCentroids,
    build,
    build_indexes,
    built,
    exact_neighbours,
    measure_recall,
    nearest,
    needs_indexing,
    read_rows,
    recall_of,
    record_of_index,
    search_exact,
    search_settings,
    search_text,
    search_vector,
    ties,
    write_record,
)


@pytest.fixture(autouse=True)
def small_thresholds(monkeypatch):
    lower_thresholds(monkeypatch)


@pytest.fixture
def dataset(tmp_path):
    return dataset_of(tmp_path, table(0, 700), table(700, 1400), table(1400, 2000))


def test_exact_search_is_brute_force(dataset):
    snapshot = dataset.require()
    vectors = queries(5)
    for where in (None, "tenant = 't3'", "start_time > timestamp '1970-01-01 00:20:00'"):
        rows_of, distances = search_exact(snapshot, "vector", vectors, 10, where)
        for query, row_ids, near in zip(vectors, rows_of, distances, strict=True):
            ids, expected = brute_force(snapshot.table(["id", "vector"], where), query, 10)
            assert read_rows(snapshot, row_ids, ["id"])["id"].to_pylist() == ids
            assert np.allclose(near, expected, atol=1e-5)
            without_index = search_vector(snapshot, "vector", "id", query, 10, where)
            assert without_index["id"].to_pylist() == ids
    assert np.isinf(search_exact(snapshot, "vector", vectors, 90, "tenant = 't3'")[1][:, 80:]).all()


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
    vectors = np.array(table(9000, 9060)["vector"].to_pylist(), np.float32)
    row_ids = [search_vector(snapshot, "vector", (), query, 10, None)["_rowid"].to_pylist() for query in vectors]
    assert recall_of(row_ids, *search_exact(snapshot, "vector", vectors, 20)) >= 0.9


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
        dataset = dataset_of(tmp_path / str(size), *tables)
        build_indexes(dataset, workers=shuffled)
        snapshot = dataset.require()
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
    dataset = dataset_of(tmp_path, corpus.append_column(pa.field("leaf", pa.bool_(), nullable=False), flags))
    build_indexes(dataset)
    snapshot = dataset.require()
    masks: list[str | None] = []
    unspied = nearest._nearest

    def noted(snapshot, column, query, count, where, settings):
        masks.append(where)
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
    assert masks[8 if share == 0.8 else 16 :] == ["leaf"] * 8
    assert masks[0] is None and (share == 0.8 or masks[1] == "leaf")


def test_equal_scores_come_in_the_order_of_the_ids(tmp_path):
    copies = table(0, 1).to_pylist() * 300
    for number, row in enumerate(copies):
        row["id"] = f"{(number * 7919) % 300:032x}"
    same = pa.Table.from_pylist(copies, schema=SCHEMA)
    corpus = pa.concat_tables([same, table(1, 1200)])
    answers = []
    for seed in (0, 1):
        shuffled = corpus.take(pa.array(np.random.default_rng(seed).permutation(len(corpus))))
        dataset = dataset_of(tmp_path / str(seed), shuffled)
        build_indexes(dataset)
        query = np.array(copies[0]["vector"], np.float32)
        near = search_vector(dataset.require(), "vector", "id", query, 250, None)
        words = search_text(dataset.require(), "text", "id", copies[0]["text"], 250, None)
        for rows_of, score in ((near, "_distance"), (words, "_score")):
            pairs = list(zip(rows_of[score].to_pylist(), rows_of["id"].to_pylist(), strict=True))
            sign = 1 if score == "_distance" else -1
            assert pairs == sorted(pairs, key=lambda pair: (sign * pair[0], pair[1]))
        answers.append((near["id"].to_pylist()[:150], words["id"].to_pylist()[:150]))
    assert len(answers[0][0]) == 150
