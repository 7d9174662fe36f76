"""The cost of one segment: the squared distance of its units to their weighted mean.

For weights w and vectors v the cost of units i..j is sum w |v|^2 - |sum w v|^2 / sum w. With u = w v it needs nothing
but the inner products u_s . u_t of units fewer than ``longest`` apart: |sum u|^2 grows by one unit at a time. They are
made in blocks by matrix products (2 x ``longest`` x d operations a unit, at the speed of the library's best kernel),
and running sums over them are O(longest) a unit, in float64. Nothing here depends on other documents, so any grouping
of documents gives the same bits on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mnemic.arrays import Floats, Vectors
from mnemic.compiled import compiled

_BLOCK = 64
"""Units whose inner products are made at once."""


def cost_blocks(vectors: Vectors, weights: Floats, longest: int) -> Iterator[tuple[int, Floats]]:
    """(first unit, costs of the segments that end with it and the up to 63 units after it), unit by unit in order.

    ``vectors`` is float32 [n, d], ``weights`` float64 [n]. Costs are float64 [at most 64, at most ``longest``]: [r, l]
    is that of the l + 1 units that end with unit first + r; infinite where it would begin before the first unit.
    """
    count = len(vectors)
    reach = min(longest, count)
    scaled = vectors * weights[:, None].astype(np.float32)
    squares = np.zeros(count)
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    spread = np.zeros(count + 1)
    for first in range(0, count, _BLOCK):
        end = min(first + _BLOCK, count)
        partner = max(0, first - reach + 1)
        block = np.full((end - first, reach), np.inf)
        _fill(scaled[first:end] @ scaled[partner:end].T, first, partner, mass, spread, squares, block)
        yield first, block


def costs(vectors: Vectors, weights: Floats, longest: int) -> Floats:
    """Costs of all segments of at most ``longest`` units: float64 [n, min(n, longest)], as in `cost_blocks`."""
    blocks = [block for _, block in cost_blocks(vectors, weights, longest)]
    return np.concatenate(blocks) if blocks else np.empty((0, 0))


@compiled
def _fill(
    products: Vectors, first: int, partner: int, mass: Floats, spread: Floats, squares: Floats, block: Floats
) -> None:
    """``squares`` [i] is |sum of u|^2 from unit i to the last one seen, ``spread`` [i] the sum of w |v|^2 before i."""
    for row in range(products.shape[0]):
        unit = first + row
        own = np.float64(products[row, unit - partner])
        weight = mass[unit + 1] - mass[unit]
        spread[unit + 1] = spread[unit] + (own / weight if weight > 0.0 else 0.0)
        across = 0.0
        for length in range(min(block.shape[1], unit + 1)):
            start = unit - length
            if length == 0:
                squares[start] = own
            else:
                across += np.float64(products[row, start - partner])
                squares[start] += 2.0 * across + own
            total = mass[unit + 1] - mass[start]
            if total > 0.0:
                block[row, length] = max(0.0, spread[unit + 1] - spread[start] - squares[start] / total)
            else:
                block[row, length] = 0.0
