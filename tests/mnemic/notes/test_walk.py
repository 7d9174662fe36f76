"""The walk over words beside notes: its definition, any order and batches, tenants, conditions, and its bounds."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest
from word_walk import walked_by_definition, word_counts

from mnemic.dataset import Store
from mnemic.dataset.index import recent
from mnemic.dataset.write import append, write_rows
from mnemic.search import row_words, walk
from mnemic.search.row_words import RowWords
from mnemic.search.walk import EXPLAINED, WALKED, WordGraph, walked

WORDS = [
    "piston",
    "river",
    "Rome",
    "Paris",
    "violin",
    "garden",
    "1984",
    "naïve",
    "東京",
    "the",
    "yeah",
    "adopted",
    "adopting",
    "a",
    "don't",
]
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("id", "tenant", "next")),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("leaf", pa.bool_(), nullable=False),
    ]
)


def drawn_rows(draw, count):
    """(id, tenant, next, text) of turns in sessions of two tenants."""
    rows = []
    for number in range(count):
        behind = f"{number + 1:032x}" if number % 9 != 8 and number + 1 < count else ""
        text = " ".join(draw.choices(WORDS, k=draw.randint(0, 5)))
        rows.append((f"{number:032x}", "north" if number < 2 * count // 3 else "south", behind, text))
    return rows


def batches_of(rows, draw, leaf=True):
    """The rows in any order, cut into batches, with row ids that tell nothing."""
    chosen = draw.sample(rows, len(rows))
    while chosen:
        part, chosen = (size := draw.randint(1, len(chosen))) and chosen[:size], chosen[size:]
        columns = list(zip(*part, strict=True))
        numbers = [int(one, 16) * 7 % 1009 for one in columns[0]]
        arrays = [pa.array(one, field.type) for one, field in zip(columns, SCHEMA, strict=False)]
        yield pa.RecordBatch.from_arrays([*arrays, pa.array(numbers, pa.uint64())], [*SCHEMA.names[:4], "_rowid"])


def row_id(identity):
    return int(identity, 16) * 7 % 1009


def test_words_of_rows_are_those_of_the_definition_in_any_order_and_batches():
    draw = random.Random(3)
    for _ in range(20):
        rows = drawn_rows(draw, draw.randint(1, 40))
        one, other = (RowWords.of_batches(batches_of(rows, draw)) for _ in range(2))
        for name in ("numbers", "tenants", "following", "first", "words", "counts"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert one.numbers.tolist() == [row_id(row[0]) for row in rows]
        assert one.following.tolist() == [number + 1 if row[2] else -1 for number, row in enumerate(rows)]
        meaning = {}
        for number, row in enumerate(rows):
            begin, end = one.first[number : number + 2]
            counts = word_counts(row[3])
            assert sorted(one.counts[begin:end].tolist()) == sorted(counts.values())
            for word, count in zip(one.words[begin:end].tolist(), one.counts[begin:end].tolist(), strict=True):
                meaning.setdefault(word, set()).update(
                    {(row[1], written) for written, times in counts.items() if times == count}
                )
        assert all(len({tenant for tenant, _ in of_word}) == 1 for of_word in meaning.values()), "of one tenant each"
        assert len(meaning) == len({(row[1], word) for row in rows for word in word_counts(row[3])})


@pytest.fixture
def events(tmp_path):
    """Makes a dataset of rows, in two fragments; rows without a text are no leaves."""

    def build(rows, name="events"):
        dataset = Store(tmp_path)[name]
        dataset.create(SCHEMA, {}, {})
        columns = [*map(list, zip(*rows, strict=True)), [True] * len(rows)]
        table = pa.table([pa.array(one, field.type) for one, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
        for part in (table.slice(0, len(rows) // 2), table.slice(len(rows) // 2)):
            append(dataset, write_rows(dataset.uri, part, SCHEMA), {})
        return dataset.require()

    return build


def facts_of(snapshot):
    batches = list(snapshot.scan(["id"], None, row_ids=True))
    return pa.Table.from_batches(batches)


@pytest.mark.parametrize(
    "where", ["leaf", "leaf AND tenant = 'north'", "leaf AND id > '00000000000000000000000000000010'"]
)
def test_a_walk_is_that_of_a_dense_matrix_over_the_rows_that_meet_the_condition(events, where):
    draw = random.Random(5)
    rows = drawn_rows(draw, 120)
    snapshot = events(rows)
    allowed = [
        row
        for row in rows
        if ("tenant" not in where or row[1] == "north") and (">" not in where or row[0] > f"{16:032x}")
    ]
    facts = facts_of(snapshot)
    for _ in range(5):
        ranked = facts.take(pa.array(draw.sample(range(120), 25)))
        scores = np.array([draw.random() for _ in range(25)])
        one = walked(snapshot, ranked, scores, where)
        exact = walked_by_definition(allowed, dict(zip(ranked["id"].to_pylist(), scores.tolist(), strict=True)))
        assert len(exact) == len(allowed) == len(one.graph.numbers)
        number = dict(zip(facts["id"].to_pylist(), facts["_rowid"].to_pylist(), strict=True))
        order = dict(zip(one.graph.numbers.tolist(), one.ranks.tolist(), strict=True))
        best = sorted(exact, key=lambda row: -exact[row])
        for better, worse in itertools.pairwise(best):
            if exact[better] > exact[worse] + 1e-5:
                assert order[number[better]] < order[number[worse]]
        raised, why = one.raised(facts, np.zeros(len(facts)), {})
        shares = {row: WALKED / (20 + order[number[row]]) for row in exact}
        assert dict(zip(facts["id"].to_pylist(), raised.tolist(), strict=True)) == pytest.approx(
            {row[0]: shares.get(row[0], 0.0) for row in rows}
        )
        assert set(why) == {row for row in exact if order[number[row]] <= EXPLAINED}


def test_how_often_a_walk_is_at_a_row_is_that_of_the_definition():
    draw = random.Random(8)
    for _ in range(20):
        rows = drawn_rows(draw, 60)
        words = RowWords.of_batches(batches_of(rows, draw))
        graph = WordGraph.of(words, np.arange(60))
        scores = {row[0]: draw.random() + 0.1 for row in draw.sample(rows, 9)}
        least, best = min(scores.values()), max(scores.values())
        restart = np.array([((scores.get(row[0], least) - least) / (best - least)) ** 2 for row in rows])
        exact = walked_by_definition(rows, scores)
        assert graph.walk(restart) == pytest.approx(np.array([exact[row[0]] for row in rows]), abs=3e-6)


def test_nothing_that_another_tenant_or_a_row_outside_of_the_condition_says_changes_a_walk(events):
    draw = random.Random(9)
    rows = drawn_rows(draw, 90)
    others = [row if row[1] == "north" else (*row[:3], "piston Rome Rome violin secret") for row in rows]
    one, other = events(rows), events(others, "others")
    scores = np.array([draw.random() for _ in range(20)])
    for where in ("leaf", "leaf AND tenant = 'north'"):
        walks = [walked(snapshot, facts_of(snapshot).slice(0, 20), scores, where) for snapshot in (one, other)]
        north = [walk.ranks[walk.graph.places(facts_of(one)["_rowid"].to_numpy()[:60])] for walk in walks]
        assert np.array_equal(*north)
    tenant = WordGraph.of(RowWords.read(one), np.arange(60))
    alone = WordGraph.of(RowWords.of_batches(batches_of(rows[:60], draw)), np.arange(60))
    for name in ("nodes", "first", "ends", "shares"):
        assert np.array_equal(getattr(tenant, name), getattr(alone, name)), "the other tenant's rows need not be there"


def test_a_release_and_a_condition_with_too_many_rows_have_no_walk(events, monkeypatch):
    snapshot = events(drawn_rows(random.Random(1), 40))
    facts = facts_of(snapshot).slice(0, 5)
    monkeypatch.setattr(walk, "MOST_WALKED", 20)
    assert walked(snapshot, facts, np.ones(5), "leaf") is None
    assert walked(snapshot, facts, np.ones(5), "leaf AND tenant = 'south'") is None, "it has none of the ranked rows"
    assert walked(snapshot, facts_of(snapshot).slice(30, 5), np.ones(5), "leaf AND tenant = 'south'") is not None
    monkeypatch.setattr(row_words, "MOST_BYTES", 100)
    assert RowWords.read(snapshot) is None
    monkeypatch.setattr(row_words, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(row_words, "MOST_ROWS", 39)
    assert RowWords.read(snapshot) is None


def test_held_graphs_are_the_last_ones_and_few(events, monkeypatch):
    snapshot = events(drawn_rows(random.Random(2), 60))
    graphs = walk._of(snapshot)
    conditions = [
        condition for bound in "123" for condition in (f"leaf AND id > '{bound}'", f"leaf AND id < '{bound}'")
    ]
    monkeypatch.setattr(recent, "CONDITIONS", 2)
    for condition in conditions:
        assert (graphs.graph(snapshot, condition) is None) == (">" in condition), "no row is there"
    assert [condition in graphs._graphs for condition in conditions] == [False] * 4 + [True] * 2
    assert graphs.graph(snapshot, conditions[-1]) is graphs.graph(snapshot, conditions[-1])
    graphs._graphs.most_bytes = 10
    assert graphs.graph(snapshot, "leaf") is not None
    assert "leaf" in graphs._graphs and conditions[-1] not in graphs._graphs
