"""The difference of two datasets is that of two mappings from key to row, whatever the fragments and the buckets."""

import random

import numpy as np
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.write import append, write_rows
from mnemic.difference import matching
from mnemic.difference.rows import compare_rows
from mnemic.difference.values import differing

SCHEMA = pa.schema(
    [
        pa.field("document", pa.string()),
        pa.field("ordinal", pa.int32()),
        pa.field("text", pa.large_string()),
        pa.field("vector", pa.list_(pa.float32(), 3)),
        pa.field("turns", pa.list_(pa.struct([("start", pa.int64()), ("speaker", pa.string())]))),
        pa.field("weights", pa.large_binary()),
        pa.field("score", pa.float64()),
    ]
)
VALUES = [name for name in SCHEMA.names if name not in ("document", "ordinal")]


def a_row(draw, document, ordinal):
    turns = [{"start": draw.randrange(3), "speaker": draw.choice(("a", "b", None))} for _ in range(draw.randrange(3))]
    return {
        "document": document,
        "ordinal": ordinal,
        "text": draw.choice(("", "one", "two\0three", "Ünïcode", None)),
        "vector": draw.choice(([0.0, 1.0, 2.0], [0.0, 1.0, 2.5], None)),
        "turns": draw.choice((turns, None)),
        "weights": draw.choice((b"", b"\0", b"\0\1", None)),
        "score": draw.choice((0.0, 1.5, float("nan"), None)),
    }


def rows_of(draw, count):
    keys = draw.sample([(document, number) for document in ("a", "b", "cc", "ba") for number in range(30)], count)
    return {key: a_row(draw, *key) for key in keys}


def dataset(folder, name, rows, draw):
    """The rows in random order, in fragments of random sizes."""
    home = Store(folder)[name]
    home.create(SCHEMA, {}, {})
    left = draw.sample(list(rows.values()), len(rows))
    while left:
        size = draw.randint(1, 25)
        written = write_rows(home.uri, pa.Table.from_pylist(left[:size], SCHEMA), SCHEMA)
        append(home, written, {})
        left = left[size:]
    return home.require()


def changed(one, other):
    return [name for name in VALUES if repr(one[name]) != repr(other[name])]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_hand", [1 << 20, 7])
def test_the_difference_is_that_of_two_mappings(tmp_path, monkeypatch, seed, in_hand):
    monkeypatch.setattr(matching, "IN_HAND", in_hand)
    draw = random.Random(seed)
    before, after = (rows_of(draw, draw.randint(1, 60)) for _ in range(2))
    for key in before.keys() & after.keys():
        if draw.random() < 0.5:
            after[key] = before[key]
    changes = compare_rows(
        dataset(tmp_path, "before", before, draw),
        dataset(tmp_path, "after", after, draw),
        ("document", "ordinal"),
        VALUES,
        limit=5,
    )
    differences = {key: changed(before[key], after[key]) for key in before.keys() & after.keys()}
    differences = {key: names for key, names in differences.items() if names}
    assert (changes.removed, changes.added) == (len(before.keys() - after.keys()), len(after.keys() - before.keys()))
    assert changes.changed == len(differences)
    for name in VALUES:
        assert changes.columns.get(name, 0) == sum(name in names for names in differences.values()), name
    assert changes.examples.get("removed", []) == sorted(before.keys() - after.keys())[:5]
    assert changes.examples.get("changed", []) == sorted(differences)[:5]


def test_fragments_that_both_versions_have_are_not_read(tmp_path, monkeypatch):
    draw = random.Random(1)
    before = dataset(tmp_path, "rows", rows_of(draw, 60), draw)
    home = Store(tmp_path)["rows"]
    lost = before.table(["document", "ordinal"]).to_pylist()[0]
    home.delete(f"document = '{lost['document']}' AND ordinal = {lost['ordinal']}")
    append(home, write_rows(home.uri, pa.Table.from_pylist([a_row(draw, "new", 1)], SCHEMA), SCHEMA), {})
    after = home.require()
    reads = []
    scan = type(after).scan
    monkeypatch.setattr(
        type(after), "scan", lambda self, *rest, **more: reads.append(rest[2]) or scan(self, *rest, **more)
    )
    changes = compare_rows(before, after, ("document", "ordinal"), VALUES)
    assert (changes.added, changes.removed, changes.changed) == (1, 1, 0)
    assert [len(fragments) for fragments in reads] == [1, 2] and len(before.fragments) > 2


def test_equal_keys_are_matched_in_their_order(tmp_path):
    rows = pa.Table.from_pylist([{"document": "a", "text": text} for text in ("one", "two")], SCHEMA)
    sides = []
    for name, table in (("one", rows), ("two", pa.concat_tables([rows, rows.slice(1)]))):
        home = Store(tmp_path)[name]
        home.create(SCHEMA, {}, {})
        append(home, write_rows(home.uri, table, SCHEMA), {})
        sides.append(home.require())
    changes = compare_rows(*sides, ("document", "ordinal"), ["text"])
    assert (changes.added, changes.removed, changes.changed) == (1, 0, 0)


@pytest.mark.parametrize(
    ("left", "right", "kind", "expected"),
    [
        ([float("nan"), 0.0, None, 1.0], [float("nan"), -0.0, None, None], pa.float32(), [0, 1, 0, 1]),
        ([[1], [], None, [1, 2]], [[1], None, None, [1, 3]], pa.list_(pa.int8()), [0, 1, 0, 1]),
        ([[1, 2], None], [[1, 2], [0, 0]], pa.list_(pa.int8(), 2), [0, 1]),
        (["é", "e\u0301"], ["é", "é"], pa.string(), [0, 1]),
        ([True, None], [True, False], pa.bool_(), [0, 1]),
        ([{"a": None}, {"a": 1}], [{"a": None}, None], pa.struct([("a", pa.int16())]), [0, 1]),
    ],
)
def test_values_are_compared_exactly(left, right, kind, expected):
    sides = [pa.array(values, kind) for values in (left, right)]
    assert differing(*sides).tolist() == [bool(one) for one in expected]
    padded = [pa.concat_arrays([side.slice(0, 1), side]).slice(1) for side in sides]
    assert differing(*padded).tolist() == [bool(one) for one in expected], "an array may be a part of another"
    assert not differing(sides[0], sides[0]).any() and differing(*sides).dtype == np.bool_
