"""Search in one shard with numpy alone: the functions of `mnemic.suffixes.kernel`, for installs without numba.

All contexts take each step of their search together, so the time goes by steps and not by contexts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Integers

_NONE = np.zeros(1, np.int64)
"""No token that is known to be common."""


def common(text: Any, place: Integers, tokens: Any, end: Integers, length: Integers, limit: Integers) -> Integers:
    limit = np.minimum(limit, place)
    length = np.broadcast_to(length, limit.shape).astype(np.int64)
    going = np.flatnonzero(length < limit)
    while len(going):
        at = length[going]
        same = text[place[going] - 1 - at].astype(np.int64) == tokens[end[going] - 1 - at]
        going = going[same]
        length[going] += 1
        going = going[length[going] < limit[going]]
    return length


def _rank_of(ranks: Any, tokens: Any) -> Integers:
    there = (tokens >= 0) & (tokens < len(ranks))
    return np.where(there, ranks[np.where(there, tokens, 0)], -1).astype(np.int64)


def _before(text: Any, ranks: Any, place: Integers, tokens: Any, end: Integers, length: Integers) -> NDArray[np.bool_]:
    inside = length < place
    other = text[np.where(inside, place - 1 - length, 0)].astype(np.int64)
    rank = np.where(other < len(ranks), _rank_of(ranks, other), len(ranks))
    return ~inside | (rank < _rank_of(ranks, tokens[end - 1 - length]))


def _outermost(
    text: Any, places: Any, tokens: Any, end: Integers, length: Integers, inner: Integers, bound: Integers
) -> Integers:
    """The last index between ``inner``, which has ``length`` in common, and ``bound``, which has not."""
    inner, bound = inner.copy(), bound.copy()
    going = np.flatnonzero(np.abs(bound - inner) > 1)
    while len(going):
        probe = (inner[going] + bound[going]) // 2
        some = common(text, places[probe].astype(np.int64), tokens, end[going], _NONE, length[going])
        inside = some >= length[going]
        inner[going[inside]] = probe[inside]
        bound[going[~inside]] = probe[~inside]
        going = going[np.abs(bound[going] - inner[going]) > 1]
    return inner


def longest_matches(
    text: Any,
    places: Any,
    ranks: Any,
    heads: Integers,
    guide: Any,
    width: int,
    stride: int,
    tokens: Any,
    begins: Integers,
    ends: Integers,
    lengths: Integers,
    firsts: Integers,
    lasts: Integers,
) -> None:
    lengths[:] = firsts[:] = lasts[:] = 0
    asked = np.flatnonzero(ends > begins)
    rank = _rank_of(ranks, tokens[ends[asked] - 1])
    asked, rank = asked[rank >= 0], rank[rank >= 0]
    head, tail = heads[rank], heads[rank + 1]
    some = head < tail
    asked, head, tail = asked[some], head[some], tail[some]
    end, limit = ends[asked], ends[asked] - begins[asked]
    low, high = head - 1, tail.copy()
    below, above = np.ones(len(asked), np.int64), np.ones(len(asked), np.int64)
    going = np.flatnonzero(high - low > 1)
    while len(going):
        middle = (low[going] + high[going]) // 2
        place = places[middle].astype(np.int64)
        start = np.minimum(below[going], above[going])
        length = common(text, place, tokens, end[going], start, limit[going])
        shorter = length < limit[going]
        rising = np.zeros(len(going), np.bool_)
        rising[shorter] = _before(text, ranks, place[shorter], tokens, end[going][shorter], length[shorter])
        low[going[rising]], below[going[rising]] = middle[rising], length[rising]
        high[going[~rising]], above[going[~rising]] = middle[~rising], length[~rising]
        going = going[high[going] - low[going] > 1]
    below = np.where(low >= head, below, 0)
    above = np.where(high < tail, above, 0)
    length = np.maximum(below, above)
    inner = np.where(above == length, high, low)
    first, last = head.copy(), tail.copy()
    deep = np.flatnonzero(length > 1)
    first[deep] = _outermost(text, places, tokens, end[deep], length[deep], inner[deep], head[deep] - 1)
    last[deep] = _outermost(text, places, tokens, end[deep], length[deep], inner[deep], tail[deep]) + 1
    lengths[asked], firsts[asked], lasts[asked] = length, first, last


def next_lengths(
    text: Any,
    places: Any,
    tokens: Any,
    ends: Integers,
    lengths: Integers,
    firsts: Integers,
    lasts: Integers,
    shorter: Integers,
) -> None:
    shorter[:] = 0
    for neighbour, there in ((firsts - 1, firsts > 0), (lasts, lasts < len(places))):
        asked = np.flatnonzero(there & (lengths > 1))
        place = places[neighbour[asked]].astype(np.int64)
        some = common(text, place, tokens, ends[asked], _NONE, lengths[asked] - 1)
        shorter[asked] = np.maximum(shorter[asked], some)


def widen(
    text: Any,
    places: Any,
    ranks: Any,
    heads: Integers,
    tokens: Any,
    ends: Integers,
    lengths: Integers,
    firsts: Integers,
    lasts: Integers,
) -> None:
    asked = np.flatnonzero(lengths > 0)
    rank = ranks[tokens[ends[asked] - 1]]
    head, tail = heads[rank], heads[rank + 1]
    deep = lengths[asked] > 1
    firsts[asked[~deep]], lasts[asked[~deep]] = head[~deep], tail[~deep]
    asked, head, tail = asked[deep], head[deep], tail[deep]
    end, length = ends[asked], lengths[asked]
    firsts[asked] = _outermost(text, places, tokens, end, length, firsts[asked], head - 1)
    lasts[asked] = _outermost(text, places, tokens, end, length, lasts[asked] - 1, tail) + 1


def gather(
    text: Any,
    places: Any,
    firsts: Integers,
    starts: Integers,
    widths: Integers,
    totals: Integers,
    offsets: Integers,
    following: NDArray[np.int32],
) -> None:
    room = np.diff(offsets)
    row = np.repeat(np.arange(len(firsts)), room)
    drawn = np.arange(offsets[-1]) - offsets[:-1][row]
    number = drawn * totals[row] // room[row] - starts[row]
    here = (number >= 0) & (number < widths[row])
    row, number = row[here], number[here]
    following[np.flatnonzero(here)] = text[places[firsts[row] + number]]


def tally(
    following: NDArray[np.int32],
    offsets: Integers,
    separator: int,
    seen: Integers,
    counts: Integers,
    sizes: Integers,
) -> None:
    row = np.repeat(np.arange(len(sizes)), np.diff(offsets))
    order = np.lexsort((following, row))
    row, token = row[order], following[order]
    inside = token != separator
    row, token = row[inside], token[inside]
    new = np.ones(len(row), np.bool_)
    new[1:] = (row[1:] != row[:-1]) | (token[1:] != token[:-1])
    begins = np.flatnonzero(new)
    amounts = np.diff(np.append(begins, len(row)))
    row, token = row[begins], token[begins]
    sizes[:] = np.bincount(row, minlength=len(sizes))
    place = offsets[:-1][row] + np.arange(len(row)) - (np.cumsum(sizes) - sizes)[row]
    following[place] = token
    counts[place] = amounts
