"""Personalised PageRank by forward push (Andersen, Chung and Lang 2006), in rounds.

Each node has what has arrived and was not passed on, its residual. A round passes on the residuals of all nodes that
have more than a share of their degree, so the work depends on the mass and not on the size of the graph. In an
undirected graph the result of a node is at most that share of its degree below the exact one.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Floats, Integers
from mnemic.links.adjacency import entries_of

DAMPING = 0.5
RESIDUAL = 1e-5
"""Of a node for each unit of its degree, at most, in the end."""


def push(
    first: Integers,
    ends: Integers,
    weights: Floats,
    reset: Floats,
    damping: float = DAMPING,
    residual: float = RESIDUAL,
) -> Floats:
    """The rank of each node, float64 [n], of a walk that restarts by ``reset`` float64 [n].

    The edges of node k lead to ``ends[first[k] : first[k + 1]]`` with ``weights``; each edge stands at both its ends.
    Sums are added in the order of nodes, so equal graphs give equal bits.
    """
    degree = np.bincount(np.repeat(np.arange(len(reset)), np.diff(first)), weights, len(reset))
    rank, waiting = np.zeros(len(reset)), reset.astype(np.float64)
    bound = np.where(degree > 0, residual * degree, 0.0)
    while len(active := np.flatnonzero((waiting > 0) & (waiting >= bound))):
        mass = waiting[active]
        waiting[active] = 0.0
        rank[active] += (1 - damping) * mass
        owners, edges = entries_of(first, active)
        shares = np.divide(damping * mass, degree[active], out=np.zeros(len(active)), where=degree[active] > 0)
        waiting += np.bincount(ends[edges], shares[owners] * weights[edges], len(reset))
    return rank
