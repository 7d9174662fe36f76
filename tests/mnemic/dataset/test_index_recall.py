"""The recall that an index promises: a lower bound of a sample, by the fewest partitions that reach it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed_rows import dataset_of, lower_thresholds, table

from mnemic.dataset.index import build_indexes, built, exact_neighbours, measure_recall, recall, search_vector
from mnemic.dataset.index.plan import VectorSettings


def test_the_fewest_partitions_that_reach_the_bound_are_looked_at(tmp_path, monkeypatch):
    lower_thresholds(monkeypatch)
    monkeypatch.setattr(recall, "SAMPLE", 50)
    dataset = dataset_of(tmp_path, table(0, 2000))
    build_indexes(dataset)
    snapshot = dataset.require()
    queries = recall.sample_queries(snapshot, "vector", 50)
    truth = exact_neighbours(snapshot, "vector", queries, 20)
    partitions = len(snapshot.native.centroids(index_name=built(snapshot)["vector"].name))
    bounds = {}
    for nprobes in recall.choices_of(partitions):
        settings = VectorSettings("IVF_RQ", partitions, nprobes)
        answers = [
            search_vector(snapshot, "vector", (), query, 200, None, settings)["_rowid"].to_pylist() for query in queries
        ]
        bounds[nprobes] = recall.lower_bound(recall.recalls_of(answers, *truth))
    for target in (0.3, 0.9, 0.95, 1.1):
        monkeypatch.setattr(recall, "TARGET", target)
        record = measure_recall(snapshot, "vector")
        expected = next((nprobes for nprobes, (_, bound) in bounds.items() if bound >= target), partitions)
        assert record["nprobes"] == expected
        assert (record["recall_at_10"], record["recall_at_10_bound"]) == pytest.approx(bounds[expected], abs=5e-5)


@given(st.integers(1, 16_384))
def test_choices_ascend_to_all_partitions(partitions):
    choices = recall.choices_of(partitions)
    assert choices[0] == max(1, partitions // 32) and choices[-1] == partitions
    assert all(one < next_one <= recall.GROWTH * one + 1 for one, next_one in pairwise(choices))


def test_the_bound_is_below_the_recall_of_all_queries_in_nineteen_of_twenty_samples():
    random = np.random.default_rng(3)
    every = np.clip(random.normal(1.05, 0.15, 100_000), 0, 1).round(1)
    samples = random.choice(every, (2_000, recall.SAMPLE))
    below = np.mean([recall.lower_bound(sample)[1] <= every.mean() for sample in samples])
    assert 0.93 <= below <= 0.97


def test_a_sample_without_neighbours_promises_all():
    nothing = recall.recalls_of([[]], np.zeros((1, 4), np.uint64), np.full((1, 4), np.inf, np.float32))
    assert recall.lower_bound(nothing) == (1.0, 1.0)
