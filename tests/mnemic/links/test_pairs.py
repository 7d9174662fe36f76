"""Relations as edges of the graph: pairs of entities against a dense matrix, and walks against PageRank."""

import random

import numpy as np
import pyarrow as pa
from test_graph import pagerank, release

from mnemic.ids import entity_id
from mnemic.links.graph import Graph
from mnemic.links.hubs import FEWEST
from mnemic.links.names import entity_name
from mnemic.links.pairs import ENDS, RELATED, Pairs

NAMES = [f"name {letter}" for letter in "abcdefgh"]


def relations_of(triples, tenant="t"):
    """``triples`` are (document, subject, object), or with a label (document, subject, label, object)."""
    rows = []
    for document, subject, *label, end in triples:
        entities = [entity_id(tenant, name) if (name := entity_name(one)) else "" for one in (subject, end)]
        rows.append(dict(zip(ENDS, (document, subject, *(label or ["is"]), end, *entities), strict=True)))
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in ENDS]))


def test_pairs_are_those_of_a_dense_matrix():
    draw = np.random.default_rng(1)
    for _ in range(100):
        entities = int(draw.integers(1, 12))
        one, other = draw.integers(0, entities, (2, int(draw.integers(0, 30))))
        counts = np.zeros((entities, entities))
        for begin, end in zip(one.tolist(), other.tolist(), strict=True):
            if begin != end:
                counts[begin, end] += 1
                counts[end, begin] += 1
        chosen = np.flatnonzero(draw.random(entities) < 0.6)
        begin, end, weights = Pairs.of(one, other, entities).among(chosen)
        dense = np.zeros((len(chosen), len(chosen)))
        dense[begin, end] = weights
        part = counts[np.ix_(chosen, chosen)]
        assert np.allclose(dense, np.where(part > 0, RELATED * (1 + np.log(np.maximum(part, 1))), 0))
        assert np.allclose(dense, dense.T) and len(weights) == np.count_nonzero(dense)


def test_a_walk_over_relations_is_pagerank_of_documents_names_and_pairs():
    draw = random.Random(3)
    for _ in range(50):
        rows = [(f"d{number:02}", "t", None) for number in range(10)]
        mentioned = [(draw.choice(rows)[0], draw.choice(NAMES)) for _ in range(15)]
        triples = [(draw.choice(rows)[0], draw.choice(NAMES).upper(), draw.choice(NAMES)) for _ in range(15)]
        titles, _ = release(rows, mentioned)
        edges = [(one, name, entity_id("t", name)) for one, name in mentioned]
        table = pa.table(
            [pa.array(one, pa.string()) for one in zip(*edges, strict=True)], ["document", "name", "entity"]
        )
        graph = Graph.of_rows(table, titles, relations_of(triples))
        every = [*mentioned, *((one, end.lower()) for one, *ends in triples for end in ends)]
        places = titles.places([row[0] for row in draw.sample(rows, 7)])
        places.sort()
        ids = [titles.id(place) for place in places.tolist()]
        scores = np.array([draw.random() for _ in places])
        frequency = {name: len({one for one, other in every if other == name}) for name in NAMES}
        here = {name for one, name in every if one in ids and 1 < frequency[name] < FEWEST}
        dense = np.zeros((7 + len(NAMES), 7 + len(NAMES)))
        for one, name in {*every}:
            if one in ids and name in here:
                row, column = ids.index(one), 7 + NAMES.index(name)
                weight = (1 + np.log(every.count((one, name)))) / np.log(2 + frequency[name])
                dense[row, column] = dense[column, row] = weight
        pairs = [frozenset((subject.lower(), other)) for _, subject, other in triples]
        for pair in {*pairs}:
            if len(pair) == 2 and pair <= here:
                row, column = (7 + NAMES.index(name) for name in sorted(pair))
                dense[row, column] = dense[column, row] = RELATED * (1 + np.log(pairs.count(pair)))
        reset = np.zeros(len(dense))
        reset[:7] = (scores / scores.max()) ** 4
        exact = pagerank(dense, reset / reset.sum(), 0.5)[:7]
        links = graph.walk(places, scores, np.empty(0, np.int64))
        for place, rank, row in zip(places.tolist(), exact, dense[:7], strict=True):
            expected = rank / exact.max() if row.any() else 0.0
            assert abs(links[place].weight - expected) < 2e-3 if place in links else expected < 0.051
        shuffled = [*triples]
        draw.shuffle(shuffled)
        again = Graph.of_rows(table, titles, relations_of(shuffled))
        assert again.names.equals(graph.names) and np.array_equal(again.pairs.ends, graph.pairs.ends)
        assert np.array_equal(again.weights, graph.weights) and np.array_equal(again.ids, graph.ids)


def test_ends_that_are_no_names_and_other_tenants_join_nothing():
    rows = [("a1", "a", None), ("a2", "a", None), ("b1", "b", None)]
    titles, _ = release(rows, [])
    relations = pa.concat_tables(
        [relations_of([("a1", "Ada", "the"), ("a2", "Ada", "of it"), ("a2", "X", "Rome")], "a"),
         relations_of([("b1", "Ada", "Rome")], "b")]
    )  # fmt: skip
    empty = pa.table({name: pa.array([], pa.string()) for name in ("document", "name", "entity")})
    graph = Graph.of_rows(empty, titles, relations)
    links = graph.walk(titles.places(["a1", "a2", "b1"]), np.ones(3), np.empty(0, np.int64))
    assert {titles.id(place) for place in links} == {"a1", "a2"}, "Ada of tenant b is another"
    assert graph.pairs is not None and not len(graph.pairs.ends)
    nobody = Graph.of_rows(empty, titles, relations_of([]))
    assert nobody.walk(titles.places(["a1"]), np.ones(1), np.empty(0, np.int64)) == {}
