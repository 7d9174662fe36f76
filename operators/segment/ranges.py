"""Summaries of ranges of units by their vectors: the mean of each, and the units that stand for it.

Ranges may overlap and lie one in another; each is added up on its own, in the order of its units, so that its mean does
not depend on what else is in the batch.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Floats, Integers, Vectors
from mnemic.compiled import compiled
from mnemic.errors import StepError

_AT_ONCE = 4096
"""Ranges whose sums are held in float64."""


def mean_vectors(vectors: Vectors, firsts: Integers, ends: Integers, out: Vectors | None = None) -> Vectors:
    """L2-normalised means of the rows [first, end) of ``vectors``: float32 [ranges, d]; zero where they cancel out.

    They are written to ``out`` where it is given. Raises `StepError` for vectors that are no numbers.
    """
    means: Vectors = np.empty((len(firsts), vectors.shape[1]), np.float32) if out is None else out
    for start in range(0, len(firsts), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        sums = np.zeros((len(firsts[part]), vectors.shape[1]))
        _add_up(vectors, firsts[part], ends[part], sums)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))[:, None]
        if not np.isfinite(lengths).all():
            raise StepError(
                "Some units have vectors that are no numbers (NaN), as an earlier mnemic stored them. Change the "
                "encoder, or a setting of `embed`, so that the vectors are made anew."
            )
        means[part] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return means


def nearest_units(vectors: Vectors, means: Vectors, firsts: Integers, ends: Integers, most: int) -> Integers:
    """For each range its up to ``most`` units nearest to the mean, best first: rows of ``vectors``, int64 [r, most].

    ``vectors`` float32 [n, d]; ``means`` float32, ``firsts`` and ``ends`` int64 of r ranges. Of equally near units the
    first; -1 behind the last of a range.
    """
    chosen = np.full((len(firsts), most), -1)
    _nearest(vectors, means, firsts, ends, chosen)
    return chosen


@compiled
def _add_up(vectors: Vectors, firsts: Integers, ends: Integers, sums: Floats) -> None:
    for place in range(len(firsts)):
        for row in range(firsts[place], ends[place]):
            for axis in range(vectors.shape[1]):
                sums[place, axis] += vectors[row, axis]


@compiled
def _nearest(vectors: Vectors, means: Vectors, firsts: Integers, ends: Integers, chosen: Integers) -> None:
    most, width = chosen.shape[1], vectors.shape[1]
    best = np.empty(most)
    for place in range(len(firsts)):
        best[:] = -np.inf
        for row in range(firsts[place], ends[place]):
            sums = np.zeros(8)
            for axis in range(0, width - width % 8, 8):
                for lane in range(8):
                    sums[lane] += np.float64(vectors[row, axis + lane]) * np.float64(means[place, axis + lane])
            for axis in range(width - width % 8, width):
                sums[0] += np.float64(vectors[row, axis]) * np.float64(means[place, axis])
            near = sums.sum()
            rank = most
            while rank > 0 and near > best[rank - 1]:
                rank -= 1
            if rank < most:
                for behind in range(most - 1, rank, -1):
                    best[behind], chosen[place, behind] = best[behind - 1], chosen[place, behind - 1]
                best[rank], chosen[place, rank] = near, row
