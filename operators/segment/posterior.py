"""Where a text turns, and how sure one can be: the posterior of its boundaries, and the cuts with the least risk.

Least squares gives every segmentation a cost (`operators.segment.cost`), and similarity a depth to every gap
(`operators.segment.valleys`). Read as an energy, exp(-sharpness * (costs + penalty * segments - depths of the cuts)) is
a distribution over all segmentations at once. Forward and backward sums over it (Fearnhead, Statistics and
Computing 2006) give the probability of every boundary, and of any two units to be of one event, in O(longest) a unit.
Three things follow:

* *Cuts with the least risk*: those that minimise the expected share of pairs of units, half an event apart, that are
  wrongly joined or divided (the expectation of Pk). Where the text does not say, nothing is cut in vain.
* *Granularity*: without a length to go by, penalties are tried from coarse to fine and the text is asked where it is
  most sure of itself: the risk relative to that of not looking at the text at all, at the same density. People name a
  handful of topics however long the text is, so the penalty at which they cut grows with it: about 1 + n / 100 for n
  units on eight sets of 15 to 900 units. How far a penalty is from that counts against it.
* *Valleys*: where events are short, their means are too noisy for least squares alone. So the depth of a gap counts
  beside the costs: how far similarity rises on both sides of it, of half an event before a gap to half an event after
  it. The window goes with the penalty: 2 units in a chat, 60 in a meeting. Stitched texts have deep valleys and are cut
  there; in a meeting the penalty outweighs all but the deepest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Flags, Floats
from mnemic.compiled import compiled

TYPICAL_DEPTH = 0.35
"""Depth of a gap (cosines, 0 to 4) that speaks neither for a cut nor against it."""

WIDEST = 64
"""Units on either side of a gap that its depth looks at, at most."""


@dataclass(frozen=True)
class Constants:
    """What the posterior takes for granted; `bench.segment.crossed` chooses them on other sets than it tests them on.

    ``sharpness`` is the energy of a cost of 1, which is the squared distance of one average unit to a mean without
    relation to it. A cut saves ``valley`` such costs for each unit of depth above `TYPICAL_DEPTH`. The usual penalty is
    ``usual`` + ``growth`` * units, and ``pull`` the weight of the squared logarithm of penalty / usual penalty, or of
    the expected number of events / that asked for.
    """

    sharpness: float = 6.0
    valley: float = 1.0
    usual: float = 1.1
    growth: float = 0.008
    pull: float = 5.0


CONSTANTS = Constants()

FOR_A_LENGTH = Constants(sharpness=8.0, valley=0.0, pull=2.0)
"""Where a length is asked for: least squares alone. Valleys help stitched texts then, and recordings lose by them."""

Depths = Callable[[int], Floats]
"""The depth of each gap, float64 [n - 1], for a window of so many units."""

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


def at_penalty(
    table: Floats, penalty: float, depths: Floats, shortest: int = 1, constants: Constants = CONSTANTS
) -> Posterior:
    """The posterior for ``table`` (`costs` of the units, float64 [n, longest]) at one penalty.

    ``depths`` float64 [n - 1] are those of the gaps, in cosines. No event has fewer than ``shortest`` units, which must
    be a `changepoint.possible_shortest`. Between the units of a pair is half the length of an event that is expected at
    this penalty.
    """
    count = len(table)
    opening, sharpness = _opening(count, penalty, depths, constants), constants.sharpness
    forward, expected = _forward(table, sharpness, opening, shortest)
    backward = _backward(table, sharpness, opening, shortest)
    segments = float(expected[count])
    window = half_event(count, segments)
    together = _together(table, sharpness, opening, shortest, forward, backward, window)
    cuts = _least_risk(together, window, count, table.shape[1], shortest)
    apart = _divided(cuts, window)
    risk = float(np.where(apart, together, 1.0 - together).mean()) if len(together) else 0.0
    share = float(together.mean()) if len(together) else 1.0
    blind = min(share, 1.0 - share)
    probability = np.exp(np.minimum(forward[count] - forward[1:count] - backward[1:count], 0.0))
    return Posterior(cuts, probability, penalty, segments, risk / blind if blind > 0.0 else 1.0)


def at_its_own_granularity(
    table: Floats, depths: Depths, shortest: int = 1, constants: Constants = CONSTANTS
) -> Posterior:
    """The posterior of `costs` float64 [n, longest] at the penalty of least doubt, not far from the usual one.

    ``depths`` gives those of the gaps for a window. At each penalty it is half the event that is expected there by
    costs alone.
    """
    count = len(table)
    usual = constants.usual + constants.growth * count
    flat = np.full(max(count - 1, 0), TYPICAL_DEPTH)

    def at(penalty: float) -> Posterior:
        window = min(half_event(count, _expected(table, penalty, flat, shortest, constants)), WIDEST)
        return at_penalty(table, penalty, depths(window), shortest, constants)

    return _most_sure(at, usual, lambda one: constants.pull * math.log(one.penalty / usual) ** 2)


def near_length(
    table: Floats, depths: Depths, length: float, shortest: int = 1, constants: Constants = FOR_A_LENGTH
) -> Posterior:
    """The posterior of `costs` float64 [n, longest] of least doubt with about ``length`` units an event.

    ``depths`` gives those of the gaps for a window, here half of such an event.
    """
    count = len(table)
    segments = min(max(count / length, 1.0 + 1e-3), count / shortest)
    valleys = depths(min(half_event(count, segments), WIDEST))
    start = _penalty_for(table, valleys, segments, shortest, constants)
    return _most_sure(
        lambda penalty: at_penalty(table, penalty, valleys, shortest, constants),
        start,
        lambda one: constants.pull * math.log(one.segments / segments) ** 2,
    )


def half_event(count: int, segments: float) -> int:
    """Units in half an event where ``count`` units are ``segments`` events: at least 2 where there are so many gaps."""
    return min(max(2, round(count / segments / 2)), max(count - 1, 1))


def _most_sure(at: Callable[[float], Posterior], start: float, distance: Callable[[Posterior], float]) -> Posterior:
    """Of the penalties around ``start`` that of least doubt: log relative risk + ``distance``."""
    best = at(start)
    lowest = _log_risk(best) + distance(best)
    for step in (1.0 / _STEP, _STEP):
        for count in range(1, _STEPS + 1):
            one = at(start * step**count)
            if distance(one) + math.log(_LEAST_RISK) >= lowest:
                break
            if _log_risk(one) + distance(one) < lowest:
                best, lowest = one, _log_risk(one) + distance(one)
    return best


def _log_risk(one: Posterior) -> float:
    return math.log(max(one.relative_risk, _LEAST_RISK))


def _penalty_for(table: Floats, depths: Floats, segments: float, shortest: int, constants: Constants) -> float:
    """The penalty at which so many segments are expected, by bisection."""
    count = len(table)

    def too_many(penalty: float) -> bool:
        return _expected(table, penalty, depths, shortest, constants) > segments

    low, high = 1e-3, 2.0 + count / 100
    while high < _HIGHEST and too_many(high):
        low, high = high, 2.0 * high
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        if too_many(middle):
            low = middle
        else:
            high = middle
    return high


def _expected(table: Floats, penalty: float, depths: Floats, shortest: int, constants: Constants) -> float:
    """The number of events."""
    opening = _opening(len(table), penalty, depths, constants)
    _, expected = _forward(table, constants.sharpness, opening, shortest)
    return float(expected[-1])


def _opening(count: int, penalty: float, depths: Floats, constants: Constants) -> Floats:
    """Energy of a segment for beginning at each unit, [n + 1]: the penalty, and less where a valley is deep."""
    opening = np.full(count + 1, constants.sharpness * penalty)
    opening[1:count] -= constants.sharpness * constants.valley * (depths - TYPICAL_DEPTH)
    return opening


def _divided(cuts: Flags, window: int) -> Flags:
    """Whether a cut lies between the units of each pair."""
    total = np.concatenate([[0], np.cumsum(cuts, dtype=np.int64)])
    divided: Flags = total[window:] != total[:-window]
    return divided


@compiled
def _forward(table: Floats, sharpness: float, opening: Floats, shortest: int) -> tuple[Floats, Floats]:
    """-log of the sum over all segmentations of the first j units, and the expected number of segments in them."""
    count, longest = table.shape
    energy, expected = np.full(count + 1, np.inf), np.zeros(count + 1)
    energy[0] = 0.0
    for end in range(1, count + 1):
        most = min(longest, end)
        lowest = np.inf
        for length in range(shortest, most + 1):
            start = end - length
            lowest = min(lowest, energy[start] + opening[start] + sharpness * table[end - 1, length - 1])
        if lowest == np.inf:
            continue
        total, segments = 0.0, 0.0
        for length in range(shortest, most + 1):
            start = end - length
            above = energy[start] + opening[start] + sharpness * table[end - 1, length - 1] - lowest
            if above < 40.0:
                share = math.exp(-above)
                total += share
                segments += share * (expected[start] + 1.0)
        energy[end] = lowest - math.log(total)
        expected[end] = segments / total
    return energy, expected


@compiled
def _backward(table: Floats, sharpness: float, opening: Floats, shortest: int) -> Floats:
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
        energy[start] = lowest + opening[start] - math.log(total)
    return energy


@compiled
def _together(
    table: Floats, sharpness: float, opening: Floats, shortest: int, forward: Floats, backward: Floats, window: int
) -> Floats:
    """Probability that units i and i + ``window`` are of one segment, [n - window]."""
    count, longest = table.shape
    change = np.zeros(max(count - window, 0) + 1)
    for end in range(window + 1, count + 1):
        most = min(longest, end)
        for length in range(max(shortest, window + 1), most + 1):
            start = end - length
            above = forward[start] + opening[start] + sharpness * table[end - 1, length - 1] + backward[end]
            above -= forward[count]
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
