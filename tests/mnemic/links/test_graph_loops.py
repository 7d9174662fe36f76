"""Walk and bridge against loops over documents, names and mentions, bit by bit, on random graphs."""

import random

import numpy as np
from mentioning import release

from mnemic.links.adjacency import entries_of
from mnemic.links.graph import BRIDGED, LEAST, POWER
from mnemic.links.hops import SOURCES, TARGETS, Link
from mnemic.links.push import push


def bridge_by_loops(graph, best, cosines, sought):
    """The documents that mention a rare name of the ``best``; the first of equal weights says why."""
    reached = {}
    for rank, source in enumerate(best[:SOURCES], start=1):
        for entity in graph.entities[graph.first[source] : graph.first[source + 1]].tolist():
            others = graph.documents[graph.begin[entity] : graph.begin[entity + 1]]
            if entity in sought.tolist() or len(others) > BRIDGED:
                continue
            documents = len(graph.titles.ids)
            rarity = float(np.log1p(documents / len(others)) / np.log1p(documents)) / rank
            for place in others.tolist():
                weight = rarity * (0.35 + 0.65 * max(cosines.get(place, 0.0), 0.0))
                if place != source and weight > reached.get(place, (0.0,))[0]:
                    reached[place] = (weight, entity, source)
    chosen = sorted(reached.items(), key=lambda one: (-one[1][0], one[0]))[:TARGETS]
    most = chosen[0][1][0] if chosen else 1.0
    return {
        place: Link(weight / most, f'mentions "{graph.names[entity].as_py()}", as {graph.titles.called(source)} does')
        for place, (weight, entity, source) in chosen
    }


def walk_by_loops(graph, places, scores, sought):
    """The documents at which the walk arrives, each with the name by which most of it came."""
    rows, edges = entries_of(graph.first, places)
    shared = sorted({*graph.entities[edges].tolist()})
    if not shared or scores.max() <= 0:
        return {}
    weight = {}
    for row, edge in zip(rows.tolist(), edges.tolist(), strict=True):
        weight[row, len(places) + shared.index(graph.entities[edge])] = graph.weights[edge]
    reset = np.zeros(len(places) + len(shared))
    reset[: len(places)] = (np.maximum(scores, 0) / scores.max()) ** POWER
    reset /= reset.sum()
    there = [place for place, entity in enumerate(shared) if entity in sought.tolist()]
    if there:
        share = np.array([1.0 / (graph.begin[shared[one] + 1] - graph.begin[shared[one]]) for one in there])
        reset[[len(places) + one for one in there]] = share / share.sum()
    both = sorted([*weight.items(), *(((end, begin), value) for (begin, end), value in weight.items())])
    begins = np.array([begin for (begin, _), _ in both])
    first = np.searchsorted(begins, np.arange(len(reset) + 1))
    ends, values = np.array([end for (_, end), _ in both]), np.array([value for _, value in both])
    rank = push(first, ends, values, reset / reset.sum())
    best = sorted(range(len(places)), key=lambda row: (-rank[row], places[row]))[:TARGETS]
    links = {}
    for row in best:
        mine = [(end, value) for (begin, end), value in sorted(weight.items()) if begin == row]
        if mine and rank[row] > LEAST * rank[best[0]]:
            end = max(mine, key=lambda one: rank[one[0]] * one[1])[0]
            name = graph.names[shared[end - len(places)]].as_py()
            links[int(places[row])] = Link(float(rank[row]) / float(rank[best[0]]), f'shares "{name}" with the best')
    return links


def drawn_release(draw):
    """Documents of two tenants; some have the same title, and some names stand in more than may bridge."""
    count = draw.choice((2, 30, 90))
    rows = [
        (f"d{number:03}", draw.choice("ts"), draw.choice((None, "Rome", f"Title {number}"))) for number in range(count)
    ]
    names = [f"name {number}" for number in range(draw.choice((3, 40)))]
    mentioned = [(draw.choice(rows)[0], draw.choice(names)) for _ in range(6 * count)]
    return release(rows, mentioned)[1]


def test_walk_and_bridge_are_those_of_the_loops_bit_by_bit():
    bridged = walked = 0
    for number in range(60):
        draw = random.Random(number)
        graph = drawn_release(draw)
        every = range(len(graph.titles.ids))
        places = np.array(sorted(draw.sample(every, draw.randint(1, len(every)))))
        scores = np.array([draw.choice((0.0, 0.5, draw.random())) for _ in places])
        cosines = np.array([draw.uniform(-0.5, 1.0) for _ in places])
        names = range(len(graph.names))
        sought = np.array(sorted(draw.sample(names, min(len(names), draw.randint(0, 3)))), np.int64)
        best = draw.sample(every, min(len(every), SOURCES + 1))
        near = dict(zip(places.tolist(), cosines.tolist(), strict=True))
        bridge, walk = graph.bridge(best, places, cosines, sought), graph.walk(places, scores, sought)
        assert list(bridge.items()) == list(bridge_by_loops(graph, best, near, sought).items())
        assert list(walk.items()) == list(walk_by_loops(graph, places, scores, sought).items())
        assert all(
            type(place) is int and type(link.weight) is float for place, link in (*bridge.items(), *walk.items())
        )
        bridged, walked = bridged + len(bridge), walked + len(walk)
    assert bridged > 500 and walked > 500


def test_of_equal_documents_the_last_cosine_counts():
    rows = [("a", "t", None), ("b", "t", None), ("c", "t", None)]
    graph = release(rows, [("a", "ada"), ("b", "ada"), ("b", "ben"), ("c", "ben")])[1]
    near, cosines = np.array([1, 1, 2]), np.array([0.9, 0.1, 0.2])
    bridge = graph.bridge([0, 1], near, cosines, np.empty(0, np.int64))
    assert bridge == bridge_by_loops(graph, [0, 1], {1: 0.1, 2: 0.2}, np.empty(0, np.int64))
