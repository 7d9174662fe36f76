"""Rows by what a column holds: held or asked of Lance, they are the rows that satisfy the condition and hold it."""

import numpy as np
import pytest
from indexed_rows import dataset_of, table

from mnemic.dataset.index import grouped, recent, rows_with

CONDITIONS = [None, "level = 'event'", "level = 'turn' AND start_time IS NOT NULL", "id = 'nobody'"]
NOTHING = "nothing"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Rows in several fragments, of which some were deleted."""
    dataset = dataset_of(tmp_path_factory.mktemp("grouped"), table(0, 300), table(300, 340), table(340, 600))
    dataset.delete("id LIKE '%7'")
    return dataset


def by_definition(snapshot, values, where):
    every = snapshot.native.scanner(columns=["tenant"], filter=where, with_row_id=True).to_table().to_pylist()
    return sorted(row["_rowid"] for row in every if row["tenant"] in values)


@pytest.mark.parametrize("small", [0, 10_000])
def test_rows_are_those_of_the_definition_held_or_not(dataset, monkeypatch, small):
    monkeypatch.setattr(grouped, "SMALL", small)
    monkeypatch.setattr(grouped, "PATIENCE", 5)
    snapshot = dataset.require()
    draw = np.random.default_rng(4)
    for turn in range(60):
        where = CONDITIONS[turn % len(CONDITIONS)]
        count = int(draw.integers(0, 5))
        values = [f"t{number}" for number in draw.integers(0, 26, count)] + [NOTHING] * (turn % 2)
        assert rows_with(snapshot, "tenant", values, where).tolist() == by_definition(snapshot, values, where)
    assert len(grouped._held(snapshot, "tenant")._flags) == len(CONDITIONS)


def test_nothing_is_held_before_it_is_worth_it_nor_more_than_its_bounds(dataset, monkeypatch):
    monkeypatch.setattr(grouped, "SMALL", 0)
    monkeypatch.setattr(grouped, "PATIENCE", 3)
    scans = []
    snapshot = dataset.require()
    scan = snapshot.scan

    def counted(*arguments, **settings):
        scans.append(arguments)
        return scan(*arguments, **settings)

    monkeypatch.setattr(snapshot, "scan", counted)

    def count(where):
        before = len(scans)
        rows_with(snapshot, "tenant", ["t1", "t4"], where)
        return len(scans) - before

    assert [count(None) for _ in range(5)] == [1, 1, 1, 0, 0], "the third question reads the column"
    assert [count("level = 'turn'") for _ in range(5)] == [1, 1, 1, 0, 0]
    groups = grouped._held(snapshot, "tenant")
    most = 4
    monkeypatch.setattr(recent, "CONDITIONS", most)
    for number in range(30):
        for _ in range(3):
            count(f"start_time > TIMESTAMP '1970-01-01 00:00:{number:02}'")
        assert len(groups._flags) <= most and len(groups._questions._counts) <= most
    assert count("level = 'turn'") == 1, "what was asked for long ago is read again"
    long = f"id <> '{'x' * recent.LONGEST}'"
    assert [count(long) for _ in range(5)] == [1] * 5
    monkeypatch.setattr(grouped, "MOST_BYTES", 100)
    other = dataset.require()
    for _ in range(5):
        assert rows_with(other, "tenant", ["t1"], None).tolist() == by_definition(other, ["t1"], None)
    assert grouped._held(other, "tenant")._groups is None


def test_they_are_held_as_long_as_the_snapshot(dataset):
    snapshot = dataset.require()
    rows_with(snapshot, "tenant", ["t1"], None)
    assert snapshot in grouped._of_snapshot
    before = len(grouped._of_snapshot)
    del snapshot
    assert len(grouped._of_snapshot) == before - 1


def test_values_of_any_script_are_found(tmp_path):
    rows = table(0, 9)
    names = ["t\u00e9", "\u4e1c\u4eac", ""] * 3
    dataset = dataset_of(tmp_path, rows.set_column(1, rows.schema.field("tenant"), [names]))
    snapshot = dataset.require()
    for values in ([name] for name in names):
        assert rows_with(snapshot, "tenant", values, None).tolist() == by_definition(snapshot, values, None)
