"""The recall that an index promises: that of rows without their copies, by the fewest partitions that reach it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed_rows import dataset_of, lower_thresholds, table

from mnemic.dataset.index import build_indexes, built, exact_neighbours, measure_recall, recall, search_vector
from mnemic.dataset.index.plan import VectorSettings


def test_the_fewest_partitions_that_reach_the_target_are_looked_at(tmp_path, monkeypatch):
    lower_thresholds(monkeypatch)
    monkeypatch.setattr(recall, "SAMPLE", 50)
    dataset = dataset_of(tmp_path, table(0, 2000))
    build_indexes(dataset)
    snapshot = dataset.require()
    queries = recall.sample_queries(snapshot, "vector", 50)
    rows, distances = exact_neighbours(snapshot, "vector", queries, recall.RANKED)
    copies = recall.copies_among(distances)
    partitions = len(snapshot.native.centroids(index_name=built(snapshot)["vector"].name))
    recalls = {}
    for nprobes in recall.choices_of(partitions):
        settings = VectorSettings("IVF_RQ", partitions, nprobes)
        answers = [
            search_vector(snapshot, "vector", (), query, 200, None, settings)["_rowid"].to_pylist() for query in queries
        ]
        recalls[nprobes] = recall.recall_of(answers, rows, distances, copies=copies)
    for target in (0.3, 0.9, 0.95, 1.1):
        monkeypatch.setattr(recall, "TARGET", target)
        record = measure_recall(snapshot, "vector")
        expected = next((nprobes for nprobes, share in recalls.items() if share >= target), partitions)
        assert record["nprobes"] == expected
        assert record["recall_at_10"] == pytest.approx(recalls[expected], abs=5e-5)


@given(st.integers(1, 16_384))
def test_choices_ascend_to_all_partitions(partitions):
    choices = recall.choices_of(partitions)
    assert choices[0] == max(1, partitions // 32) and choices[-1] == partitions
    assert all(one < next_one <= recall.GROWTH * one + 1 for one, next_one in pairwise(choices))


def test_copies_of_a_query_neither_count_nor_are_counted():
    rows, distances = np.array([[1, 2, 3, 4, 5]], np.uint64), np.array([[0, 0.1, 0.5, 0.6, 0.8]], np.float32)
    copies = recall.copies_among(distances)
    assert copies.tolist() == [[True, True, False, False, False]]
    assert recall.recall_of([[1, 2, 3, 9, 4]], rows, distances, 2, copies) == 0.5
    assert recall.recall_of([[2, 3, 4]], rows, distances, 2, copies) == 1.0


def test_rows_that_are_all_alike_are_neighbours_and_no_copies():
    assert not recall.copies_among(np.zeros((2, 5), np.float32)).any()
    assert not recall.copies_among(np.full((2, 5), np.inf, np.float32)).any()
    few = np.array([[0, 0.2, 0.9, np.inf]], np.float32)
    assert recall.copies_among(few).tolist() == [[True, True, False, False]]
