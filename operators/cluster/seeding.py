"""The start of k-means: greedy k-means++ (Arthur and Vassilvitskii 2007) on a processor.

All numbers are whole and below 2^53, so sums are exact and the choice is that of any other way to compute it.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Floats, Integers, Vectors
from mnemic.compiled import compiled, inlined


@compiled
def greedy_start(products: Vectors, counts: Integers, drawn: Floats, chosen: Integers, distinct: Integers) -> None:
    """Choose points of each node, the first by its draw, each next one as the best of some drawn by squared distance.

    ``products`` float32 [nodes, m, m] are the scalar products of a node's points, of which the first ``counts`` int64
    [nodes] count. ``drawn`` float64 [nodes, k, candidates] are in [0, 1). Writes the places ``chosen`` int64 [nodes, k]
    and how many of these points differ, ``distinct`` int64 [nodes].
    """
    _, clusters, candidates = drawn.shape
    points = products.shape[1]
    distance, total = np.empty(points), np.empty(points)
    for node in range(products.shape[0]):
        product, count = products[node], counts[node]
        place = min(int(drawn[node, 0, 0] * count), points - 1)
        chosen[node, 0], distinct[node] = place, 1
        for point in range(points):
            distance[point] = _apart(product, place, point) if point < count else 0.0
        for number in range(1, clusters):
            everything = 0.0
            for point in range(points):
                everything += distance[point]
                total[point] = everything
            distinct[node] += everything > 0
            least = 0.0
            for candidate in range(candidates):
                aim = min(drawn[node, number, candidate] * everything, everything - 1)
                place = min(np.searchsorted(total, aim, "right"), points - 1)
                rest = 0.0
                for point in range(count):
                    rest += min(distance[point], _apart(product, place, point))
                if candidate == 0 or rest < least:
                    least, chosen[node, number] = rest, place
            for point in range(count):
                distance[point] = min(distance[point], _apart(product, chosen[node, number], point))


@inlined
def _apart(product: Vectors, one: int, other: int) -> float:
    """The squared distance of two points."""
    return float(product[one, one]) + float(product[other, other]) - 2.0 * float(product[one, other])
