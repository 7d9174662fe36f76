"""Words that are asked under several conditions: one look at the index gives what a look for each gives."""

import functools
import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from indexed_rows import dataset_of, lower_thresholds, table

from mnemic.dataset.index import (
    build_indexes,
    held_conditions,
    recent,
    satisfying,
    search_text,
    search_text_under,
)

CONDITIONS = ("level = 'turn'", "level = 'event'", "tenant <> 't3'")


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    lower_thresholds(monkeypatch)
    copies = table(0, 40)
    texts = pa.array([f"word1 word2 {number % 3 * 'word3 '}" for number in range(40)], copies.schema.field("text").type)
    tied = copies.set_column(copies.schema.get_field_index("text"), copies.schema.field("text"), texts)
    dataset = dataset_of(tmp_path, table(40, 1400), tied)
    dataset.delete("tenant = 't4'")
    build_indexes(dataset)
    return dataset.require()


def best(snapshot, query, k, where):
    """The ``k`` best rows by score and id, of all rows that there are."""
    every = search_text(snapshot, "text", ("id",), query, 2000, where).to_pylist()
    return sorted((-row["_score"], row["id"], row["_rowid"]) for row in every)[:k]


def repeated(snapshot, conditions=CONDITIONS):
    held_conditions(snapshot, conditions)
    return held_conditions(snapshot, conditions)


def test_each_condition_has_its_best_rows(snapshot, monkeypatch):
    conditions = repeated(snapshot)
    queries = ("word3 word5 word8", "word1 word2", "word1", "nothing")
    for query, k, spare in itertools.product(queries, (1, 7, 300), (1, 2)):
        monkeypatch.setattr("mnemic.dataset.index.bm25.SPARE", spare)
        tables = search_text_under(snapshot, "text", (), query, k, conditions)
        for where in CONDITIONS:
            expected = best(snapshot, query, k, where)
            rows = tables[where].to_pydict()
            assert rows["_score"] == [-score for score, _, _ in expected]
            last = min(rows["_score"], default=0.0)  # of its ties any may be there, where Lance was asked for a few
            numbers = [number for number, score in zip(rows["_rowid"], rows["_score"], strict=True) if score > last]
            assert numbers == [number for score, _, number in expected if -score > last]


def test_where_too_few_are_among_those_given_a_condition_is_asked_alone(snapshot):
    conditions = repeated(snapshot)
    few = replace(conditions, total=len(conditions.rows[CONDITIONS[0]]))  # as if nothing were ruled out
    for k in (5, 40):
        alone = search_text(snapshot, "text", (), "word1 word2", k, CONDITIONS[0])
        assert search_text_under(snapshot, "text", (), "word1 word2", k, few)[CONDITIONS[0]].equals(alone)


def test_rows_are_held_from_the_second_question_on_of_small_datasets_and_conditions_that_leave_enough(
    snapshot, monkeypatch
):
    assert held_conditions(snapshot, CONDITIONS) is None
    conditions = held_conditions(snapshot, CONDITIONS)
    assert conditions is not None and conditions.total == snapshot.count()
    for where, rows in conditions.rows.items():
        assert len(rows) == snapshot.count(where) and np.array_equal(rows, np.unique(rows))
    assert repeated(snapshot, (CONDITIONS[0], "id = 'nobody'")) is None
    assert satisfying._held(snapshot)._rare == {"id = 'nobody'"}
    monkeypatch.setattr(recent, "LONGEST", 4)
    assert repeated(snapshot, ("tenant = 't3'",)) is None
    monkeypatch.setattr(satisfying, "SMALL", 10)
    assert repeated(snapshot, ("level = 'turn'",)) is None


def test_only_the_conditions_asked_last_are_held(snapshot, monkeypatch):
    monkeypatch.setattr(recent, "CONDITIONS", 2)
    ask = functools.partial(satisfying._held(snapshot).rows, snapshot)
    for where in (*CONDITIONS, *CONDITIONS):
        ask(where)
        ask(where)
    assert len(satisfying._held(snapshot)._rows) == 2 and len(satisfying._held(snapshot)._questions._counts) <= 3
    assert ask(CONDITIONS[0]) is None and ask(CONDITIONS[2]) is not None
