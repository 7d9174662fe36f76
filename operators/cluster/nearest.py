"""The nearest centroid, exactly: a matrix product in float32, and float64 where that cannot decide.

A matrix library's products differ in their last bits with the shape, the threads and the machine, and a row's cluster
must not. So a product decides only where the best distance is smaller than all others by more than the product's error.
Elsewhere the distances of the centroids in question are summed up in float64. A sum of d products is wrong by more than
8 sqrt(d) roundings of 2^-24 with a probability of 10^-13 (Higham and Mary, SIAM J. Sci. Comput. 2019, theorem 3.1). On
sentence vectors that leaves one row in two thousand in doubt a level. The result is a function of the row and the
centroids alone: the same in any batch, with any number of threads, on a CPU and on a GPU. Equal distances go to the
first centroid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers, Vectors
from mnemic.compiled import compiled

if TYPE_CHECKING:
    import torch


_LIKELY = 8

_LANES = 16
"""Distances that are compared at once: those of a vector register."""

_PAIRS = 16_384
"""Pairs of a row and a centroid that are compared again at once: 50 MB each in float64 at 384 components."""


def squared_norms(centroids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Squared lengths of ``centroids`` [n, k, d], float32 [n, k]; infinite where there is none (``present`` False)."""
    import torch

    squares = centroids.double().square_().sum(-1).float()
    return torch.where(present, squares, torch.inf)


def longest(rows: torch.Tensor) -> float:
    """Length of the longest of ``rows`` [n, d]."""
    import torch

    return float(torch.linalg.vector_norm(rows, dim=-1).max()) if rows.shape[0] else 0.0


def settled(
    products: torch.Tensor,
    squares: torch.Tensor,
    rows: torch.Tensor,
    centroids: torch.Tensor,
    node: torch.Tensor,
    norms: tuple[float, float],
    place: torch.Tensor | None = None,
) -> torch.Tensor:
    """Index of the nearest centroid of each row, int64 [n].

    A row of ``rows`` [n, d], or each of the rows at ``place`` int64 [n], is compared with the centroids of its ``node``
    [n], of which there are ``centroids`` [nodes, k, d] and the ``squares`` of their lengths [nodes, k]. ``products``
    float32 [n, k] are its scalar products with them, times -2. ``norms`` are lengths that no row and no centroid
    exceeds.
    """
    import torch

    row, centroid = norms
    wrong = 2.0**-24 * (2 * (_LIKELY * math.sqrt(rows.shape[1]) + 3) * row * centroid + 2 * centroid**2)
    choice = torch.empty_like(node)
    if products.device.type == "cpu":
        near = torch.empty(len(node), dtype=torch.bool)
        best_of(products.numpy(), squares.numpy(), node.numpy(), 2 * wrong, choice.numpy(), near.numpy())
    else:
        distances = products + squares.index_select(0, node)
        best, choice = distances.min(1)
        near = (distances <= (best + 2 * wrong).unsqueeze(1)).sum(1) > 1
    doubtful = near.nonzero().squeeze(1)
    if len(doubtful):
        distances = products[doubtful] + squares[node[doubtful]]
        within = distances <= distances.amin(1, keepdim=True) + 2 * wrong
        places = doubtful if place is None else place[doubtful]
        choice[doubtful] = _again(within, rows, places, centroids, node[doubtful])
    return choice


@compiled
def best_of(
    products: Vectors, squares: Vectors, node: Integers, wrong: float, choice: Integers, near: npt.NDArray[np.bool_]
) -> None:
    """Write each row's nearest centroid, ``choice`` int64 [n]; ``near`` where another is at most ``wrong`` farther.

    No branch hangs on a distance, so that the loops over centroids become vector instructions.
    """
    width = products.shape[1]
    distances, least = np.empty(width, np.float32), np.empty(_LANES, np.float32)
    for row in range(products.shape[0]):
        own, scalar = squares[node[row]], products[row]
        for centroid in range(width):
            distances[centroid] = scalar[centroid] + own[centroid]
        least[:] = np.inf
        for start in range(0, width - width % _LANES, _LANES):
            for lane in range(_LANES):
                distance = distances[start + lane]
                least[lane] = distance if distance < least[lane] else least[lane]
        best = least.min()
        for centroid in range(width - width % _LANES, width):
            best = distances[centroid] if distances[centroid] < best else best
        within = 0
        for centroid in range(width):
            within += distances[centroid] - best <= wrong
        first = 0
        while distances[first] > best:
            first += 1
        choice[row] = first
        near[row] = within > 1


def _again(
    within: torch.Tensor, rows: torch.Tensor, place: torch.Tensor, centroids: torch.Tensor, node: torch.Tensor
) -> torch.Tensor:
    """The first of the nearest centroids by float64, of those marked in ``within`` bool [n, k]: int64 [n].

    The i-th row is ``rows[place[i]]``.
    """
    import torch

    row, which = within.nonzero().unbind(1)
    exact = np.full(tuple(within.shape), np.inf)
    for start in range(0, len(row), _PAIRS):
        part, child = row[start : start + _PAIRS], which[start : start + _PAIRS]
        difference = rows[place[part]].double() - centroids[node[part], child].double()
        exact[part.cpu().numpy(), child.cpu().numpy()] = difference.square_().sum(1).cpu().numpy()
    return torch.from_numpy(exact.argmin(1)).to(rows.device)
