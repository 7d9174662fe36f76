"""The candidates that are worth an exact comparison, by the agreement of their signatures.

Thresholds that lose one pair in a thousand of those that are just similar enough, and none of the others. The number
of shared bands is binomial with threshold ** rows, that of equal components with the threshold itself; the variance of
a fast similarity sketch does not exceed that of independent permutations.
"""

from __future__ import annotations

import math

MISSED = 1e-3
"""Share of the pairs of just the threshold that may be left out."""


def least_shared(threshold: float, bands: int, rows: int) -> int:
    """The number of bands that two documents must share to be compared; at least one."""
    chance, missed, least = threshold**rows, 0.0, 0
    while least < bands:
        missed += math.comb(bands, least) * chance**least * (1 - chance) ** (bands - least)
        if missed > MISSED:
            break
        least += 1
    return max(least, 1)


def least_agreeing(threshold: float, size: int) -> int:
    """The number of the ``size`` components of two signatures that must agree for a comparison."""
    return max(0, math.floor(threshold * size - 3.1 * math.sqrt(threshold * (1 - threshold) * size)))
