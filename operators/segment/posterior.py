"""Where a text turns, and how sure one can be: the posterior of its boundaries, and the cuts with the least risk.

Least squares gives every segmentation a cost (`operators.segment.cost`). Read as an energy, exp(-sharpness * (costs +
penalty * segments)) is a distribution over all segmentations at once. Forward and backward sums over it (Fearnhead,
Statistics and Computing 2006) give the probability of every boundary, and of any two units to be of one event, in
O(longest) a unit. Two things follow that the single best segmentation does not give:

* *Cuts with the least risk*: those that minimise the expected share of pairs of units, half an event apart, that are
  wrongly joined or divided (the expectation of Pk). Where the text does not say, nothing is cut in vain.
* *Granularity*: without a length to go by, penalties are tried from coarse to fine and the text is asked where it is
  most sure of itself: the risk relative to that of not looking at the text at all, at the same density. People name a
  handful of topics however long the text is, so the penalty at which they cut grows with it: about 1 + n / 100 for n
  units on five sets of 15 to 900 units. How far a penalty is from that counts against it, mildly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Flags, Floats
from mnemic.compiled import compiled

SHARPNESS = 8.0
"""Energy of a cost of 1, which is the squared distance of one average unit to a mean without relation to it."""

USUAL = 0.01
"""The usual penalty is 1 + this * units."""

PULL = 2.0
"""Weight of the squared logarithm of penalty / usual penalty, or of the expected number of events / that asked for."""

_STEP = 0.85
_STEPS = 24
_BISECTIONS = 16
_HIGHEST = 1e6
_LEAST_RISK = 0.02
"""A text is never taken to be more sure than this, so penalties far from where one starts need not be tried."""


@dataclass(frozen=True)
class Posterior:
    """The posterior of the boundaries of a text of n units at one penalty."""

    cuts: Flags
    """Those with the least risk, [n - 1]."""
    probability: Floats
    """Of each gap to be a boundary, [n - 1]."""
    penalty: float
    segments: float
    """Expected."""
    relative_risk: float
    """Expected share of pairs that ``cuts`` gets wrong, over that of the better of cutting nowhere and everywhere."""


def at_penalty(table: Floats, penalty: float, shortest: int = 1) -> Posterior:
    """The posterior for ``table`` (`costs` of the units, float64 [n, longest]) at one penalty.

    No event has fewer than ``shortest`` units, which must be a `changepoint.possible_shortest`. Between the units of a
    pair is half the length of an event that is expected at this penalty.
    """
    count = len(table)
    forward, expected = _forward(table, SHARPNESS, penalty, shortest)
    backward = _backward(table, SHARPNESS, penalty, shortest)
    segments = float(expected[count])
    window = min(max(2, round(count / segments / 2)), max(count - 1, 1))
    together = _together(table, SHARPNESS, penalty, shortest, forward, backward, window)
    cuts = _least_risk(together, window, count, table.shape[1], shortest)
    apart = _divided(cuts, window)
    risk = float(np.where(apart, together, 1.0 - together).mean()) if len(together) else 0.0
    share = float(together.mean()) if len(together) else 1.0
    blind = min(share, 1.0 - share)
    probability = np.exp(np.minimum(forward[count] - forward[1:count] - backward[1:count], 0.0))
    return Posterior(cuts, probability, penalty, segments, risk / blind if blind > 0.0 else 1.0)


def at_its_own_granularity(table: Floats, shortest: int = 1) -> Posterior:
    """The posterior of `costs` float64 [n, longest] at the penalty of least doubt, not far from the usual one."""
    usual = 1.0 + USUAL * len(table)
    return _most_sure(table, usual, shortest, lambda one: one.penalty / usual)


def near_length(table: Floats, length: float, shortest: int = 1) -> Posterior:
    """The posterior of `costs` float64 [n, longest] of least doubt with about ``length`` units an event."""
    segments = min(max(len(table) / length, 1.0 + 1e-3), len(table) / shortest)
    start = _penalty_for(table, segments, shortest)
    return _most_sure(table, start, shortest, lambda one: one.segments / segments)


def _most_sure(table: Floats, start: float, shortest: int, excess: Callable[[Posterior], float]) -> Posterior:
    """Of the penalties around ``start`` that of least doubt: log relative risk + `PULL` * log squared of ``excess``."""
    best = at_penalty(table, start, shortest)
    lowest = _log_risk(best) + PULL * math.log(excess(best)) ** 2
    for step in (1.0 / _STEP, _STEP):
        for count in range(1, _STEPS + 1):
            one = at_penalty(table, start * step**count, shortest)
            distance = PULL * math.log(excess(one)) ** 2
            if distance + math.log(_LEAST_RISK) >= lowest:
                break
            if _log_risk(one) + distance < lowest:
                best, lowest = one, _log_risk(one) + distance
    return best


def _log_risk(one: Posterior) -> float:
    return math.log(max(one.relative_risk, _LEAST_RISK))


def _penalty_for(table: Floats, segments: float, shortest: int) -> float:
    """The penalty at which so many segments are expected, by bisection."""
    low, high = 1e-3, 2.0 + USUAL * len(table)
    while high < _HIGHEST and _expected(table, high, shortest) > segments:
        low, high = high, 2.0 * high
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        if _expected(table, middle, shortest) > segments:
            low = middle
        else:
            high = middle
    return high


def _expected(table: Floats, penalty: float, shortest: int) -> float:
    _, expected = _forward(table, SHARPNESS, penalty, shortest)
    return float(expected[-1])


def _divided(cuts: Flags, window: int) -> Flags:
    """Whether a cut lies between the units of each pair."""
    total = np.concatenate([[0], np.cumsum(cuts, dtype=np.int64)])
    divided: Flags = total[window:] != total[:-window]
    return divided


@compiled
def _forward(table: Floats, sharpness: float, penalty: float, shortest: int) -> tuple[Floats, Floats]:
    """-log of the sum over all segmentations of the first j units, and the expected number of segments in them."""
    count, longest = table.shape
    energy, expected = np.full(count + 1, np.inf), np.zeros(count + 1)
    energy[0] = 0.0
    for end in range(1, count + 1):
        most = min(longest, end)
        lowest = np.inf
        for length in range(shortest, most + 1):
            lowest = min(lowest, energy[end - length] + sharpness * table[end - 1, length - 1])
        if lowest == np.inf:
            continue
        total, segments = 0.0, 0.0
        for length in range(shortest, most + 1):
            above = energy[end - length] + sharpness * table[end - 1, length - 1] - lowest
            if above < 40.0:
                share = math.exp(-above)
                total += share
                segments += share * (expected[end - length] + 1.0)
        energy[end] = lowest + sharpness * penalty - math.log(total)
        expected[end] = segments / total
    return energy, expected


@compiled
def _backward(table: Floats, sharpness: float, penalty: float, shortest: int) -> Floats:
    """-log of the sum over all segmentations of the units from i on."""
    count, longest = table.shape
    energy = np.full(count + 1, np.inf)
    energy[count] = 0.0
    for start in range(count - 1, -1, -1):
        most = min(longest, count - start)
        lowest = np.inf
        for length in range(shortest, most + 1):
            lowest = min(lowest, energy[start + length] + sharpness * table[start + length - 1, length - 1])
        if lowest == np.inf:
            continue
        total = 0.0
        for length in range(shortest, most + 1):
            above = energy[start + length] + sharpness * table[start + length - 1, length - 1] - lowest
            if above < 40.0:
                total += math.exp(-above)
        energy[start] = lowest + sharpness * penalty - math.log(total)
    return energy


@compiled
def _together(
    table: Floats, sharpness: float, penalty: float, shortest: int, forward: Floats, backward: Floats, window: int
) -> Floats:
    """Probability that units i and i + ``window`` are of one segment, [n - window]."""
    count, longest = table.shape
    change = np.zeros(max(count - window, 0) + 1)
    for end in range(window + 1, count + 1):
        most = min(longest, end)
        for length in range(max(shortest, window + 1), most + 1):
            start = end - length
            above = forward[start] + sharpness * (table[end - 1, length - 1] + penalty) + backward[end] - forward[count]
            if above < 40.0:
                share = math.exp(-above)
                change[start] += share
                change[end - window] -= share
    together: Floats = np.minimum(np.cumsum(change)[:-1], 1.0)
    return together


@compiled
def _least_risk(together: Floats, window: int, count: int, longest: int, shortest: int) -> npt.NDArray[np.bool_]:
    """Cuts that minimise the expected share of pairs that they get wrong; the fewest of equals."""
    gain = np.zeros(len(together) + 1)  # of joining the pairs that begin with the first units, over dividing them
    for first in range(len(together)):
        gain[first + 1] = gain[first] + 2.0 * together[first] - 1.0
    best, last = np.full(count + 1, -np.inf), np.zeros(count + 1, np.int64)
    best[0] = 0.0
    for end in range(1, count + 1):
        for length in range(shortest, min(longest, end) + 1):
            start = end - length
            value = best[start] - 1e-9
            if length > window:
                value += gain[end - window] - gain[start]
            if value > best[end]:
                best[end] = value
                last[end] = length
    cuts = np.zeros(max(count - 1, 0), np.bool_)
    end = count
    while end > 0 and last[end] > 0:
        end -= last[end]
        if end > 0:
            cuts[end - 1] = True
    return cuts
