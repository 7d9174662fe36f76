"""Greedy k-means++ against its definition in whole numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.cluster.seeding import greedy_start


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 12), st.integers(1, 6), st.sampled_from([1, 3, 50]))
@settings(max_examples=60, deadline=None)
def test_the_start_is_that_of_the_definition(seed: int, nodes: int, points: int, clusters: int, spread: int) -> None:
    """Points lie on few places, so many are alike; those behind the first ``counts`` are zeros."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, points + 1, nodes)
    places = random.integers(-spread, spread + 1, (nodes, points, 2)) * (np.arange(points) < counts[:, None])[..., None]
    drawn = random.random((nodes, clusters, 4))
    chosen, distinct = np.full((nodes, clusters), -1), np.full(nodes, -1)
    products = (places @ places.transpose(0, 2, 1)).astype(np.float32)
    greedy_start(products, counts, drawn, chosen, distinct)
    for node in range(nodes):
        start = definition(places[node, : counts[node]], points, drawn[node])
        assert chosen[node].tolist() == start
        assert distinct[node] == len({tuple(places[node, place]) for place in start})


def definition(places: np.ndarray, room: int, drawn: np.ndarray) -> list[int]:
    """Each next point is the one of four drawn after which the squared distances to the nearest are least."""
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    start = [min(int(drawn[0, 0] * len(places)), room - 1)]
    for draws in drawn[1:]:
        total = np.cumsum(apart[start].min(axis=0))
        candidates = [int((total <= min(draw * total[-1], total[-1] - 1)).sum()) for draw in draws]
        start.append(min(candidates, key=lambda one: apart[[*start, one]].min(axis=0).sum()))
    return start
