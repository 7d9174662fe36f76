"""Route, then search: down the tree of clusters to the few leaves that are nearest, and only their vectors compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.dataset import Snapshot
from mnemic.errors import QueryError
from mnemic.quoting import one_of
from mnemic.vectors import vectors


@dataclass(frozen=True)
class Route:
    """Paths of the leaves that a query leads to, and the share of all rows that they hold."""

    leaves: tuple[str, ...]
    share: float

    @property
    def condition(self) -> str:
        """The rows of these leaves, as SQL over `events`."""
        return one_of("cluster", self.leaves)


@dataclass(frozen=True)
class RouteTree:
    """The nodes of `clusters`, the root first: paths, centroids float32 [nodes, d], sizes [nodes], children of each."""

    paths: list[str]
    centroids: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.int64]
    children: list[list[int]]

    @classmethod
    def of(cls, clusters: Snapshot) -> RouteTree:
        nodes = clusters.table(["path", "parent", "size", "level", "centroid"])
        nodes = nodes.sort_by([("level", "ascending"), ("path", "ascending")])
        paths, parents = nodes["path"].to_pylist(), nodes["parent"].to_pylist()
        place = {path: number for number, path in enumerate(paths)}
        children: list[list[int]] = [[] for _ in paths]
        for number, parent in enumerate(parents[1:], start=1):
            children[place[parent]].append(number)
        centroids = vectors(nodes["centroid"], copy=False)
        return cls(paths, centroids, nodes["size"].to_numpy(), children)

    def route(self, vector: npt.NDArray[Any], leaves: int) -> Route:
        """Descend from the root, keeping at each level the ``leaves`` nodes nearest to ``vector`` [d] (Euclidean).

        With as many leaves as the tree has, all of it is searched. Raises `QueryError` for fewer than one.
        """
        if leaves < 1:
            raise QueryError(f"A route to {leaves} leaves leads nowhere; set route to at least 1.")
        nodes = [0]
        while any(self.children[node] for node in nodes):
            below = np.array([child for node in nodes for child in self.children[node] or [node]])
            distances = ((self.centroids[below] - vector) ** 2).sum(axis=1)
            nodes = below[np.lexsort((below, distances))[:leaves]].tolist()
        share = float(self.sizes[nodes].sum() / max(int(self.sizes[0]), 1))
        return Route(tuple(sorted(self.paths[node] for node in nodes)), share)
