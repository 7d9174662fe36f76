"""The way of a text down the tree of clusters, as the tree itself was filled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STRIDE = 256
"""Nodes of a level that are compared at once, from the root: descent begins at the deepest level of no more."""


def leaf_of(
    vector: npt.NDArray[np.floating],
    paths: Sequence[str],
    centroids: npt.NDArray[np.float32],
    children: Sequence[Sequence[int]],
) -> str:
    """The path of the leaf for ``vector`` [d], of a tree whose nodes have ``paths`` and ``centroids`` [nodes, d].

    ``children`` are the places of each node's children. Another way down would lead texts to leaves that were made of
    others.
    """
    depths = np.array([path.count(".") + 1 if path else 0 for path in paths])
    below = np.flatnonzero(depths == np.flatnonzero(np.bincount(depths) <= STRIDE).max())
    node = 0
    while len(below):
        node = int(below[((centroids[below] - vector) ** 2).sum(axis=1).argmin()])
        below = np.asarray(children[node], np.int64)
    return paths[node]
