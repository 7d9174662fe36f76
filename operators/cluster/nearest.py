"""The nearest centroid, exactly: a matrix product in float32, and float64 where that cannot tell.

A matrix library's products differ in their last bits with the shape, the threads and the machine. Whether that moves a
row to another cluster must not depend on what it is computed with, or beside. So a product decides only where the best
distance is smaller than all others by more than the product can be wrong, and where it is not, the distances of the
centroids in question are summed up in float64. A sum of d products is wrong by more than 8 sqrt(d) roundings of 2^-24
with a probability of 10^-13 (Higham and Mary, SIAM J. Sci. Comput. 2019, theorem 3.1). On sentence vectors that leaves
one row in two thousand in doubt a level. What is found is a function of the row and the centroids alone, the same in
any batch, with any number of threads, on a CPU and on a GPU. Equal distances go to the first centroid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Integers = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

_LIKELY = 8

_PAIRS = 16_384
"""Rows and centroids that are looked at again at once: 50 MB each in float64 at 384 components."""


def squared_norms(centroids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Squared lengths of ``centroids`` [n, k, d], float32 [n, k]; infinite where there is none (``present`` False)."""
    import torch

    squares = centroids.double().square_().sum(-1).float()
    return torch.where(present, squares, torch.inf)


def longest(rows: torch.Tensor) -> float:
    """Length of the longest row."""
    import torch

    return float(torch.linalg.vector_norm(rows, dim=-1).max()) if rows.shape[0] else 0.0


def settled(
    distances: torch.Tensor, rows: torch.Tensor, centroids: torch.Tensor, node: torch.Tensor, norms: tuple[float, float]
) -> torch.Tensor:
    """Index of the nearest centroid of each row, int64 [n].

    ``distances`` are the products, float32 [n, k]: the squared length of the centroid less twice the scalar product.
    ``centroids`` is [nodes, k, d] and ``node`` [n] says whose centroids a row of ``rows`` [n, d] is compared with;
    ``norms`` are lengths that no row and no centroid exceeds.
    """
    row, centroid = norms
    wrong = 2.0**-24 * (2 * (_LIKELY * math.sqrt(rows.shape[1]) + 3) * row * centroid + 2 * centroid**2)
    best, choice = distances.min(1)
    within = distances <= (best + 2 * wrong).unsqueeze(1)
    doubtful = (within.sum(1) > 1).nonzero().squeeze(1)
    if len(doubtful):
        choice[doubtful] = _again(within[doubtful], rows, doubtful, centroids, node[doubtful])
    return choice


def _again(
    within: torch.Tensor, rows: torch.Tensor, doubtful: torch.Tensor, centroids: torch.Tensor, node: torch.Tensor
) -> torch.Tensor:
    """The first of the nearest centroids by float64, of those marked in ``within`` [n, k]."""
    import torch

    place, which = within.nonzero().unbind(1)
    found = np.full(tuple(within.shape), np.inf)
    for start in range(0, len(place), _PAIRS):
        part, child = place[start : start + _PAIRS], which[start : start + _PAIRS]
        difference = rows[doubtful[part]].double() - centroids[node[part], child].double()
        found[part.cpu().numpy(), child.cpu().numpy()] = difference.square_().sum(1).cpu().numpy()
    return torch.from_numpy(found.argmin(1)).to(rows.device)
