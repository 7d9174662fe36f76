"""How many documents of each leaf are taken, and which: Dataset Quantization's question, answered with whole numbers.

Zhou et al. 2023 (arXiv 2308.10524) divide a data set into bins and take a share of each. Here the bins are the leaves
of the cluster tree, and inside a leaf the points are taken that are farthest from those taken before (Gonzalez 1985).
Vectors are rounded to whole numbers, whose products are exact in float64 in any order, so every machine chooses alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mnemic.arrays import Floats, Integers

FEWEST = 8
"""Documents of a leaf that are taken at least, or all of a smaller one."""

GRID = 1 << 15
"""Steps of a component between 0 and 1: products of 4,096 components stay below 2 to the power of 53."""


def quotas(sizes: Sequence[int], share: float, alpha: float) -> Integers:
    """How many of each leaf are taken, int64 [leaves]: proportional to size to the power of ``alpha``, within bounds.

    At least `FEWEST` or the leaf, at most the leaf. They add up to ``share`` of all, rounded up, or to the least that
    the bounds allow. The rest of a division goes to the largest fractions, the first of equals.
    """
    leaves = np.asarray(sizes, np.int64)
    least = np.minimum(leaves, FEWEST)
    total = max(math.ceil(share * int(leaves.sum()) - 1e-9), int(least.sum()))
    weights = leaves.astype(np.float64) ** alpha
    low, high = 0.0, float(leaves.max(initial=0) / weights[weights > 0].min()) if (weights > 0).any() else 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(weights * middle, least, leaves).sum() < total:
            low = middle
        else:
            high = middle
    parts = np.clip(weights * high, least, leaves)
    counts = np.minimum(np.maximum(np.floor(parts + 1e-9).astype(np.int64), least), leaves)
    order = np.lexsort((np.arange(len(leaves)), -np.round(parts - counts, 9)))
    for leaf in order.tolist():
        if counts.sum() >= total:
            break
        counts[leaf] += int(counts[leaf] < leaves[leaf])
    return counts


def gridded(sums: Floats) -> Floats:
    """The directions of ``sums`` float64 [n, d], each component a whole number of at most `GRID`; of nothing, zeros."""
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    points: Floats = np.rint(np.divide(sums * GRID, lengths, out=np.zeros_like(sums), where=lengths > 0))
    return points


def farthest(points: Floats, count: int) -> Integers:
    """Places of ``count`` of the ``points`` float64 [n, d] of `gridded`, int64 [count], in the order they are taken.

    The first is the one most like the sum of all, each next one the one that is least like the most similar of those
    taken; likeness is the inner product. Of equals the first is taken.
    """
    if count <= 0:
        return np.empty(0, np.int64)
    first = int(np.argmax(points @ gridded(points.sum(axis=0, keepdims=True))[0]))
    places = [first]
    nearest = points @ points[first]
    nearest[first] = np.inf
    for _ in range(count - 1):
        place = int(np.argmin(nearest))
        places.append(place)
        np.maximum(nearest, points @ points[place], out=nearest)
        nearest[place] = np.inf
    return np.array(places, np.int64)
