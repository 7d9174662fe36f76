"""Fragments are merged where it is worth it, and nothing that remembers rows or pending columns sees a difference."""

import random

import pyarrow as pa
import pytest

from mnemic.dataset import Store, compaction
from mnemic.dataset.compaction import fewer, groups, merge
from mnemic.dataset.growth import add_fields, commit_growth, grow, pending
from mnemic.dataset.write import append, write_rows

SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("text", pa.string())])
SCORE = pa.schema([pa.field("score", pa.float32())])


def dataset(folder, sizes):
    home = Store(folder)["rows"]
    home.create(SCHEMA, {}, {})
    first = 0
    for size in sizes:
        rows = pa.table({"id": range(first, first + size), "text": [f"text {n}" for n in range(size)]}, SCHEMA)
        append(home, write_rows(home.uri, rows, SCHEMA), {})
        first += size
    return home


def finish(home, fragments):
    snapshot = home.require()
    grown = []
    for fragment in fragments:
        rows = pa.Table.from_batches(list(snapshot.scan(["id"], fragments=[fragment], row_ids=True)))
        values = pa.table({"_rowid": rows["_rowid"], "score": rows["id"].cast(pa.float32())})
        grown.append(grow(home.uri, snapshot.version, fragment, values))
    commit_growth(home, snapshot.version, grown, {})


def rows_by_id(snapshot):
    batches = list(snapshot.scan(snapshot.schema.names, row_ids=True))
    return {row["_rowid"]: row for row in pa.Table.from_batches(batches).to_pylist()}


def merge_all(home):
    for group in groups(home.require()):
        merge(home, group)


@pytest.mark.parametrize("seed", range(6))
def test_rows_their_ids_and_what_is_pending_stay(tmp_path, seed):
    draw = random.Random(seed)
    home = dataset(tmp_path, [draw.randint(1, 9) for _ in range(draw.randint(8, 20))])
    add_fields(home, SCORE, {"step": "score"})
    done = [one.id for one in home.require().fragments if draw.random() < 0.6]
    if done:
        finish(home, done)
    for _ in range(3):
        home.delete(f"id = {draw.randrange(40)}")
    before = home.require()
    left = before.count("score IS NULL")
    todo = sum(one.rows for one in before.fragments if one.id in pending(before, ["score"]))
    rows = rows_by_id(before)
    merge_all(home)
    after = home.require()
    assert rows_by_id(after) == rows
    for fragment in after.fragments:
        ids = after.part(fragment.id, ["id"], 0, fragment.rows)["id"].to_pylist()
        assert ids == sorted(ids), "rows of one fragment keep their order"
    assert after.count("score IS NULL") == left == todo
    assert sum(one.rows for one in after.fragments if one.id in pending(after, ["score"])) == todo
    merge_all(home)
    assert len(home.require().fragments) <= len(before.fragments) and not groups(home.require())


def test_large_fragments_and_few_small_ones_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MOST_ROWS", 50)
    home = dataset(tmp_path, [50, 20, 20, 20, 50, 1, 1, 1, 1])
    (group,) = groups(home.require())
    assert [fragment.rows for fragment in group] == [1, 1, 1, 1] and fewer(home.require()) == 3
    merge(home, group)
    assert [fragment.rows for fragment in home.require().fragments] == [50, 20, 20, 20, 50, 4]


def test_a_fragment_of_many_deleted_rows_is_written_anew(tmp_path):
    home = dataset(tmp_path, [100])
    home.delete("id < 10")
    assert not groups(home.require()), "one in ten is not worth it"
    home.delete("id < 12")
    (group,) = groups(home.require())
    assert group[0].deleted == 12
    merge(home, group)
    assert home.require().fragments[0].deleted == 0 and home.require().count() == 88


def test_fragments_of_two_sides_are_never_merged(tmp_path):
    home = dataset(tmp_path, [1] * 10)
    snapshot = home.require()
    sides = groups(snapshot, lambda fragment: fragment.id < 6)
    assert [[fragment.id for fragment in group] for group in sides] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
