"""Boundaries moved to the gaps where the likeness of the units ends one event and begins the next.

EM-LLM (arXiv 2407.09450, section 3.2) takes the units around a boundary as a graph with weights A_ij = k_i . k_j. It
moves the boundary to the split of best modularity or conductance (equations 3 and 4, Algorithm 1). Its code builds the
T x T matrix of expected edges anew for each of T splits. But A = K K^T: with S_t the sum of the first t vectors and S
that of all, the weight inside the first block is |S_t|^2, and its volume S_t . S. One walk over the window gives all
splits in O(T d), and A is never formed. 512 keys of 128 numbers take 0.1 ms, some 300 times less than vectorised numpy
that is given A (mean gap 16; more with longer events) and 2,000 times less than the published code.

There is no branch that forms A once by a matrix product. The bare product alone was slower at every T > 2 and d from
128 to 12,288 (there 5 times at T = 16, 10 times at T = 64). A unit costs the walk two products, and A costs it T / 2.

Every window is summed from zero in float64, in an order that T and d alone decide, and nothing is fused or
reassociated. So a document has the same boundaries on every machine and in every batch. These rules are for key
vectors. On embeddings of sentences they move boundaries away from those of people (Choi: Pk 18.7 -> 21.2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mnemic.arrays import AnyVectors, Flags, Floats
from mnemic.compiled import compiled, inlined

OBJECTIVES = ("modularity", "conductance", "similarity", "least_squares")
VOLUMES = ("degree", "within")

PASSES = 64
"""Least squares looks at most this often at every boundary; a few passes settle nearly all."""

REACH = 1024
"""Units that a refined boundary before may lie back. Boundaries that all run to the left, as those of ``similarity`` do
where a document begins, would else cost the square of its length; the published code sees a chunk of 512 tokens."""

_MODULARITY, _CONDUCTANCE, _CONDUCTANCE_WITHIN, _SIMILARITY, _LEAST_SQUARES = range(5)
_LANES = 16  # sums that a reduction carries side by side: two registers of AVX-512, added up at the end
_BLOCK = 8 * _LANES  # numbers of a vector that are reduced at once, in registers
_COLUMNS = 8 * _BLOCK  # numbers of a vector that a walk sums, so that both sums stay in the first-level cache


class Curves(NamedTuple):
    """Objectives of all splits of a window: float64 [T - 1], entry t - 1 for the blocks [0, t) and [t, T).

    NaN where an objective is not defined: everywhere if the window's weight 2m is not positive.
    """

    modularity: Floats
    """Q of equation 3 in Newman's scale; the paper's 1/4m makes half of it. Higher is better."""
    conductance: Floats
    """Equation 4: weight of the cut over the smaller volume. Lower is better."""
    similarity: Floats
    """Equation 5: mean similarity inside the two blocks over that between them. Higher is better."""


def curves(window: AnyVectors, volume: str = "degree") -> Curves:
    """Modularity, conductance and intra/inter similarity of every split of ``window``, float32 or float64 [T, d].

    A is ``window @ window.T``, its diagonal included. A block's volume is the sum of its units' degrees (``"degree"``),
    or as EM-LLM's code has it the weight inside the block against all other weight (``"within"``).
    """
    window = _readable(window)
    if len(window) < 2:
        return Curves(*np.empty((3, 0)))
    within, volumes = split_sums(window, 0, 1, len(window) - 1, len(window))
    conductance = _rule("conductance", volume)
    return Curves(
        _worths(_MODULARITY, within, volumes),
        -_worths(conductance, within, volumes),
        _worths(_SIMILARITY, within, volumes),
    )


def refine(
    vectors: AnyVectors,
    cuts: Flags,
    ends: Flags,
    objective: str = "modularity",
    *,
    min_units: int = 1,
    exclude_candidate: bool = False,
    volume: str = "degree",
) -> Flags:
    """``cuts`` with each boundary moved to the best split near it: bool [n - 1], as many as before and in their order.

    ``vectors`` is float32 or float64 [n, d]; gap i of ``cuts`` and ``ends`` (bool [n - 1]) lies before unit i + 1.
    Those in ``ends`` stay, and nothing is seen across them: the result for the units between two of them depends on
    those units alone.

    Modularity, conductance and similarity follow Algorithm 1, from left to right. With the boundary p before the
    candidate e already refined (or p where the document begins) and h = (e - p) // 2, the window [p - h, e + h) is
    split at every t from p + ``min_units`` to e. A boundary only moves left. ``exclude_candidate`` ends the search at e
    - 1 as the published code does, so that every boundary must move. ``volume`` is that of `curves`. Where p is more
    than `REACH` units back, so far as it ran away from its own candidate, that candidate stands in for it.

    Least squares moves a boundary to the split of the two events beside it that leaves least squared error to their
    means, again and again until all stay or `PASSES` are over. The error never grows.

    A boundary moves for a strictly better split only, of equally good ones to the first. It stays where it is nearer
    than ``min_units`` to its neighbour already, and where no split has a defined objective; nothing comes nearer.
    """
    vectors = _readable(vectors)
    rule = _rule(objective, volume)
    gaps = max(len(vectors) - 1, 0)
    if cuts.shape != (gaps,) or ends.shape != (gaps,):
        raise ValueError(
            f"{len(vectors)} vectors have {gaps} gaps, but cuts has shape {cuts.shape} and ends {ends.shape}; give one "
            "flag for each gap in both."
        )
    if min_units < 1:
        raise ValueError(f"An event cannot have min_units = {min_units}; set it to at least 1.")
    if exclude_candidate and rule == _LEAST_SQUARES:
        raise ValueError(
            "Least squares stops where nothing moves, so it cannot do with exclude_candidate; leave it out."
        )
    walls = np.concatenate([[0], np.flatnonzero(ends) + 1, [len(vectors)]])
    boundaries = np.flatnonzero(cuts & ~ends) + 1
    document = np.searchsorted(walls, boundaries, side="right")
    lows, highs = walls[document - 1], walls[document]
    if rule == _LEAST_SQUARES:
        _move_both_ways(vectors, boundaries, lows, highs, min_units)
    else:
        _move_left(vectors, boundaries, lows, highs, rule, min_units, int(exclude_candidate))
    refined = cuts & ends
    refined[boundaries - 1] = True
    return refined


def _readable(vectors: AnyVectors) -> AnyVectors:
    if vectors.ndim != 2 or vectors.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"Vectors are float32 or float64 [units, dimensions], not {vectors.dtype} of shape {vectors.shape}; "
            "convert them with astype and reshape."
        )
    return np.ascontiguousarray(vectors)


def _rule(objective: str, volume: str) -> int:
    if objective not in OBJECTIVES:
        raise ValueError(f"There is no objective {objective!r}; choose one of {', '.join(OBJECTIVES)}.")
    if volume not in VOLUMES:
        raise ValueError(f"There is no volume {volume!r}; choose one of {', '.join(VOLUMES)}.")
    rules = {"modularity": _MODULARITY, "similarity": _SIMILARITY, "least_squares": _LEAST_SQUARES}
    return rules.get(objective, _CONDUCTANCE if volume == "degree" else _CONDUCTANCE_WITHIN)


@compiled
def _move_left(vectors: Any, boundaries: Any, lows: Any, highs: Any, rule: int, min_units: int, excluded: int) -> None:
    """Algorithm 1, in place on ``boundaries``, int64 [m], each in its document [low, high)."""
    refined, unrefined = 0, 0
    for i in range(len(boundaries)):
        candidate = boundaries[i]
        previous = max(lows[i], refined, min(unrefined, candidate - REACH))
        half = (candidate - previous) // 2
        start, end = max(lows[i], previous - half), min(highs[i], candidate + half)
        first, last = previous + min_units, candidate - excluded
        refined, unrefined = _best_split(vectors, start, first, last, end, candidate, rule), candidate
        boundaries[i] = refined


@compiled
def _move_both_ways(vectors: Any, boundaries: Any, lows: Any, highs: Any, min_units: int) -> None:
    """Least squares, in place on ``boundaries``, int64 [m]; one is looked at again only after a neighbour moved."""
    count = len(boundaries)
    settled = np.zeros(count, np.bool_)
    for _ in range(PASSES):
        for i in range(count):
            if settled[i]:
                continue
            candidate = boundaries[i]
            previous = max(lows[i], boundaries[i - 1]) if i else lows[i]
            following = min(highs[i], boundaries[i + 1]) if i + 1 < count else highs[i]
            first, last = previous + min_units, following - min_units
            settled[i] = True
            if first <= candidate <= last:
                boundaries[i] = _best_split(vectors, previous, first, last, following, candidate, _LEAST_SQUARES)
            if boundaries[i] != candidate:
                settled[max(i - 1, 0) : i] = False
                settled[i + 1 : i + 2] = False
        if settled.all():
            return


@compiled
def _best_split(vectors: Any, start: int, first: int, last: int, end: int, candidate: int, rule: int) -> int:
    """The best of the splits ``first`` to ``last`` of the window [start, end); ``candidate`` if none is better."""
    if first > last or first == last == candidate:
        return candidate
    within, volume = split_sums(vectors, start, first, last, end)
    best, chosen = -np.inf, candidate
    for i in range(last - first + 1):
        worth = _worth(rule, end - start, first + i - start, within[i], volume[i], within[-1])
        if worth > best or (worth == best and first + i == candidate):
            best, chosen = worth, first + i
    return chosen


@compiled
def _worths(rule: int, within: Any, volume: Any) -> Any:
    """`_worth` of every split of a window: float64 [T - 1] from what `split_sums` returns for all of them."""
    units = len(within)
    worths = np.empty(units - 1)
    for i in range(units - 1):
        worths[i] = _worth(rule, units, i + 1, within[i], volume[i], within[-1])
    return worths


@compiled
def _worth(rule: int, units: int, split: int, within: float, volume: float, total: float) -> float:
    """The objective of a split by ``rule``, higher is better: conductance is negated, squared error is what it saves.

    ``within`` is the weight inside the first ``split`` of ``units`` units, ``volume`` the sum of their degrees,
    ``total`` = 2m the weight of the window.
    """
    rest = units - split
    rest_within, rest_volume, cut = total - 2.0 * volume + within, total - volume, volume - within
    if rule == _LEAST_SQUARES:
        return within / split + rest_within / rest
    if not total > 0.0:
        return np.nan
    if rule == _MODULARITY:
        return (within + rest_within - (volume * volume + rest_volume * rest_volume) / total) / total
    if rule == _SIMILARITY:
        intra = (within / (split * split) + rest_within / (rest * rest)) / 2.0
        return _ratio(intra, cut / (split * rest))
    if rule == _CONDUCTANCE:
        return -_ratio(cut, min(volume, rest_volume))
    first, second = min(within, total - within), min(rest_within, total - rest_within)
    return -min(_ratio(cut, first), _ratio(cut, second))


@compiled
def _ratio(part: float, whole: float) -> float:
    """IEEE division, where numba would raise."""
    if whole != 0.0:
        return part / whole
    return np.nan if part == 0.0 else np.inf * part


@compiled
def split_sums(vectors: Any, start: int, first: int, last: int, end: int) -> tuple[Any, Any]:
    """W1 = |S_t|^2 and D1 = S_t . S of the window [start, end) for the splits t = first to last, then for t = end.

    Both are float64 [last - first + 2]; their last entry is the window's weight 2m = |S|^2.
    """
    dimension = vectors.shape[1]
    width = min(_COLUMNS, -(-dimension // _BLOCK) * _BLOCK)
    before, whole = np.empty(width), np.empty(width)
    within, volume = np.zeros((last - first + 2, _LANES)), np.zeros((last - first + 2, _LANES))
    for left in range(0, dimension, _COLUMNS):
        right = min(left + _COLUMNS, dimension)
        before[:] = 0.0
        for unit in range(start, first):
            _add(before, vectors[unit, left:right])
        whole[:] = before
        for unit in range(first, end):
            _add(whole, vectors[unit, left:right])
        for i in range(last - first + 1):
            if i:
                _add(before, vectors[first + i - 1, left:right])
            _multiply(before, whole, within[i], volume[i])
        _multiply(whole, whole, within[-1], volume[-1])
    return _added_up(within), _added_up(volume)


@inlined
def _add(total: Any, row: Any) -> None:
    for j in range(len(row)):
        total[j] += row[j]


@inlined
def _multiply(before: Any, whole: Any, within: Any, volume: Any) -> None:
    """Add ``before`` . ``before`` to the `_LANES` partial sums ``within``, ``before`` . ``whole`` to ``volume``.

    No lane waits for another one, so the compiler puts eight of them in a register without changing any sum.
    """
    for start in range(0, len(before), _BLOCK):
        mine, all_of_them = before[start : start + _BLOCK], whole[start : start + _BLOCK]
        for lane in range(_LANES):
            square, product = 0.0, 0.0
            for k in range(_BLOCK // _LANES):
                value = mine[k * _LANES + lane]
                square += value * value
                product += value * all_of_them[k * _LANES + lane]
            within[lane] += square
            volume[lane] += product


@compiled
def _added_up(lanes: Any) -> Any:
    sums = np.zeros(len(lanes))
    for i in range(len(lanes)):
        for lane in range(_LANES):
            sums[i] += lanes[i, lane]
    return sums
