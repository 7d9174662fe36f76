"""Walks over shared names against PageRank by its definition, and mentions by their rules."""

import random
import time

import numpy as np
import pyarrow as pa
import pytest
from mentioning import release

from mnemic.links.graph import BRIDGED, MOST_DOCUMENTS
from mnemic.links.hubs import FEWEST
from mnemic.links.mentions import mentions
from mnemic.links.push import push

NONE = np.empty(0, np.int64)


def drawn_graph(draw, nodes, edges):
    """An undirected graph as compressed rows, and as a dense matrix float64 [n, n]."""
    dense = np.zeros((nodes, nodes))
    for _ in range(edges):
        one, other = draw.integers(0, nodes, 2)
        if one != other:
            dense[one, other] = dense[other, one] = draw.random() + 0.1
    begin, end = np.nonzero(dense)
    return np.searchsorted(begin, np.arange(nodes + 1)), end, dense[begin, end], dense


def pagerank(dense, reset, damping):
    """By the definition: the fixed point of p = damping W p + (1 - damping) reset, solved exactly."""
    degree = dense.sum(axis=0)
    steps = dense / np.where(degree > 0, degree, 1.0)
    return np.linalg.solve(np.eye(len(dense)) - damping * steps, (1 - damping) * reset)


def test_push_is_pagerank_of_random_graphs():
    for number in range(200):
        draw = np.random.default_rng(number)
        nodes = int(draw.integers(1, 60))
        first, ends, weights, dense = drawn_graph(draw, nodes, int(draw.integers(0, 150)))
        reset = draw.random(nodes) * (draw.random(nodes) < 0.3)
        damping = float(draw.choice([0.15, 0.5, 0.85]))
        exact = pagerank(dense, reset, damping)
        rank = push(first, ends, weights, reset, damping, residual=1e-9)
        assert np.abs(rank - exact).max(initial=0) < 1e-6
        coarse, bound = push(first, ends, weights, reset, damping, residual=1e-3), 1e-3 * dense.sum(axis=0)
        assert (coarse <= exact + 1e-12).all() and (exact - coarse <= bound + 1e-12).all()
        assert (push(first, ends, weights, reset, damping, residual=1e-3) == coarse).all()
        components = np.linalg.matrix_power(np.eye(nodes) + dense, nodes) @ reset > 0
        assert not rank[~components].any(), "what no seed reaches has nothing"


def test_a_walk_is_pagerank_over_documents_and_the_names_that_they_share():
    draw = random.Random(2)
    names = [f"name {letter}" for letter in "abcdefgh"]
    for _ in range(50):
        rows = [(f"d{number:02}", "t", None) for number in range(12)]
        mentioned = [(draw.choice(rows)[0], draw.choice(names)) for _ in range(40)]
        titles, graph = release(rows, mentioned)
        places = titles.places([row[0] for row in draw.sample(rows, 8)])
        places.sort()
        scores = np.array([draw.random() for _ in places])
        ids = [titles.id(place) for place in places.tolist()]
        count = {(one, name): mentioned.count((one, name)) for one, name in mentioned}
        frequency = {name: len({one for one, other in mentioned if other == name}) for name in names}
        dense = np.zeros((8 + len(names), 8 + len(names)))
        for (one, name), often in count.items():
            if one in ids and 1 < frequency[name] < FEWEST:
                row, column = ids.index(one), 8 + names.index(name)
                dense[row, column] = dense[column, row] = (1 + np.log(often)) / np.log(2 + frequency[name])
        reset = np.zeros(len(dense))
        reset[:8] = (scores / scores.max()) ** 4
        exact = pagerank(dense, reset / reset.sum(), 0.5)[:8]
        links = graph.walk(places, scores, np.empty(0, np.int64))
        assert {place: link.weight for place, link in links.items()} == pytest.approx(
            {
                place: rank / exact.max()
                for place, rank, row in zip(places.tolist(), exact, dense[:8], strict=True)
                if rank > 0.05 * exact.max() and row.any()
            },
            abs=1e-3,
        )


def test_tenants_share_no_name_and_any_order_of_rows_is_the_same_graph():
    rows = [("a1", "a", "Rome"), ("a2", "a", None), ("b1", "b", None), ("b2", "b", "Rome")]
    mentioned = [("a1", "ada"), ("a2", "ada"), ("a2", "rome"), ("b1", "ada"), ("b2", "ada"), ("b1", "rome")]
    titles, graph = release(rows, mentioned)
    links = graph.walk(titles.places(["a1"]), np.ones(1), np.empty(0, np.int64))
    assert {titles.id(place) for place in links} == {"a1"}
    bridge = graph.bridge(titles.places(["a1"]).tolist(), NONE, np.empty(0), NONE)
    [(place, link)] = bridge.items()
    assert titles.id(place) == "a2" and link.reason in {
        f'mentions "{name}", as "Rome" does' for name in ("ada", "rome")
    }
    tenant = int(titles.tenants[titles.places(["a1"])[0]])
    sought = graph.entities_in("Who is Ada of rome?", [tenant])
    assert sorted(graph.names.take(pa.array(sought)).to_pylist()) == ["ada", "rome"]
    assert {
        titles.id(place) for place in graph.documents[graph.begin[sought[0]] : graph.begin[sought[0] + 1]].tolist()
    } == {
        "a1",
        "a2",
    }
    random.Random(1).shuffle(mentioned)
    other = release(rows, mentioned)[1]
    for name in ("ids", "first", "entities", "weights", "begin", "documents"):
        assert np.array_equal(getattr(graph, name), getattr(other, name))


def test_a_name_of_one_document_or_of_very_many_joins_nothing():
    rows = [(f"d{number:05}", "t", "Readme") for number in range(MOST_DOCUMENTS + 2)]
    mentioned = [(row[0], "everywhere") for row in rows] + [("d00000", "once")]
    mentioned += [(row[0], "often") for row in rows[: BRIDGED + 1]]
    graph = release(rows, mentioned)[1]
    start = time.process_time()
    links = graph.walk(np.arange(600), np.ones(600), graph.entities_in("everywhere once readme", [0]))
    assert len(links) == BRIDGED + 1 and all('"often"' in link.reason for link in links.values())
    assert graph.bridge([0, 1], NONE, np.empty(0), NONE) == {}
    assert time.process_time() - start < 1.0
    empty = release([("d1", "t", None)], [])[1]
    assert empty.walk(np.zeros(1, np.int64), np.ones(1), empty.entities_in("who?", [0])) == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The University of Oslo opened in 1811.", ["university of oslo", "1811"]),
        ("It was made by Ada Stone, and Ben.", ["ada stone", "ben"]),
        ("It rains. They said so.", []),
        ('She sang "in the rain" twice.', ["in the rain"]),
        ("Call bank.search or write_rows, then readAll().", ["bank search", "write_rows", "readall", "call"]),
        ("e.g. at 5 p.m.", []),
        ("Ångström met Émile in Αθήνα and Москва.", ["ångström", "émile in αθήνα and москва"]),
        ("东京 and 42 things", []),
        ("", []),
    ],
)
def test_mentions_by_rule(text, names):
    rows = list(mentions(text))
    assert sorted(one.name for one in rows) == sorted(names)
    for one in rows:
        assert one.name.replace(" ", "").replace("_", "") in "".join(
            letter for letter in text[one.start : one.end].lower() if letter.isalnum()
        )


@pytest.mark.parametrize("piece", ["A ", "A-", "A of ", 'A" ', "a.", "aB", "“", "of the ", "A.B_", "9 ", "'A"])
def test_mentions_take_time_in_proportion_to_the_text(piece):
    seconds = []
    for size in (20_000, 200_000):
        start = time.process_time()
        sum(1 for _ in mentions(piece * size))
        seconds.append(time.process_time() - start)
    assert seconds[1] < 14 * seconds[0] + 0.5
