"""Search in one shard, compiled: longest match, widening, continuations.

A context is ``tokens[begin:end]``, read backwards from its end. ``text`` are the tokens of a shard, ``places`` int32
[n] its places in order, ``ranks`` int32 the rank of each token, ``heads`` int64 [ranks + 1] where the places behind
each begin. An interval [first, last) of ``places`` are the places where the last ``length`` tokens of a context stand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled


@compiled
def common(text: Any, place: int, tokens: Any, end: int, length: int, limit: int) -> int:
    """Tokens before ``place`` that are those before ``end``: at least ``length``, at most ``limit``."""
    limit = min(limit, place)
    while length < limit and text[place - 1 - length] == tokens[end - 1 - length]:
        length += 1
    return length


@compiled
def rank_of(ranks: Any, token: int) -> int:
    """The rank of a context's token; -1 for one that the shard does not have."""
    return ranks[token] if 0 <= token < len(ranks) else -1


@compiled
def before(text: Any, ranks: Any, place: int, tokens: Any, end: int, length: int) -> Any:
    """Whether ``place`` sorts before the context that it has ``length`` tokens, and not all, in common with."""
    if length >= place:
        return True
    token = text[place - 1 - length]  # the separator, which sorts last, has no rank
    return token < len(ranks) and ranks[token] < rank_of(ranks, tokens[end - 1 - length])


@compiled
def outermost(text: Any, places: Any, tokens: Any, end: int, length: int, inner: int, bound: int, step: int) -> int:
    """The last index from ``inner`` in direction ``step``, short of ``bound``, whose place has ``length`` in common.

    The place at ``inner`` has. Strides double, then halve.
    """
    stride, index = 1, inner
    while True:
        probe = index + step * stride
        if (bound - probe) * step <= 0:
            break
        if common(text, places[probe], tokens, end, 0, length) < length:
            bound = probe
            break
        index = probe
        stride *= 2
    while (bound - index) * step > 1:
        probe = (index + bound) // 2
        if common(text, places[probe], tokens, end, 0, length) < length:
            bound = probe
        else:
            index = probe
    return index


@compiled
def guided(guide: Any, ranks: Any, width: int, tokens: Any, end: int, limit: int) -> tuple[int, int]:
    """(first, last) of the entries of ``guide`` whose tokens are those before ``end``, as far as an entry has them."""
    least, most = np.uint64(0), np.uint64(0)
    bits = np.uint64(64 // width)
    full = (np.uint64(1) << bits) - np.uint64(1)
    for step in range(width):
        least, most = least << bits, most << bits
        if step < limit:
            code = np.uint64(ranks[tokens[end - 1 - step]] + 1)
            least, most = least | code, most | code
        else:
            most |= full
    low, high = 0, len(guide)
    while low < high:
        middle = (low + high) // 2
        if guide[middle] < least:
            low = middle + 1
        else:
            high = middle
    first, high = low, len(guide)
    if low < high and guide[low] > most:
        return first, first
    while low < high:
        middle = (low + high) // 2
        if guide[middle] <= most:
            low = middle + 1
        else:
            high = middle
    return first, low


@compiled
def longest_matches(
    text: Any,
    places: Any,
    ranks: Any,
    heads: Any,
    guide: Any,
    width: int,
    stride: int,
    tokens: Any,
    begins: Any,
    ends: Any,
    lengths: Any,
    firsts: Any,
    lasts: Any,
) -> None:
    """Of each context the longest suffix that stands before a place, and its interval; length 0 where none does.

    ``guide`` uint64 has the ``width`` tokens before every place whose number is a multiple of ``stride``: most steps of
    the search stay inside it.
    """
    for query in range(len(ends)):
        end = ends[query]
        limit = end - begins[query]
        lengths[query] = 0
        firsts[query] = 0
        lasts[query] = 0
        if limit == 0:
            continue
        rank = rank_of(ranks, tokens[end - 1])
        if rank < 0 or heads[rank] == heads[rank + 1]:
            continue
        head, tail = heads[rank], heads[rank + 1]
        low, high = head - 1, tail  # places up to low sort before the context, those from high on do not
        below, above = 0, 0  # tokens that the places at low and high have in common with it, as far as is known
        if tail - head > stride:
            reach = 1
            while reach < min(limit, width) and rank_of(ranks, tokens[end - 1 - reach]) >= 0:
                reach += 1
            first, last = guided(guide, ranks, width, tokens, end, reach)
            low, high = max(low, (first - 1) * stride), min(high, last * stride)
        while high - low > 1:
            middle = (low + high) // 2
            length = common(text, places[middle], tokens, end, min(below, above), limit)
            if length < limit and before(text, ranks, places[middle], tokens, end, length):
                low, below = middle, length
            else:
                high, above = middle, length
        length, inner = 1, head
        if low >= head:
            below = common(text, places[low], tokens, end, below, limit)
            if below > length:
                length, inner = below, low
        if high < tail:
            above = common(text, places[high], tokens, end, above, limit)
            if above > length:
                length, inner = above, high
        lengths[query] = length
        if length == 1:
            firsts[query] = head
            lasts[query] = tail
            continue
        firsts[query] = outermost(text, places, tokens, end, length, inner, head - 1, -1)
        lasts[query] = outermost(text, places, tokens, end, length, inner, tail, 1) + 1


@compiled
def next_lengths(
    text: Any, places: Any, tokens: Any, ends: Any, lengths: Any, firsts: Any, lasts: Any, shorter: Any
) -> None:
    """Of each interval the longest suffix shorter than its own that stands before more places; 0 where none does."""
    for query in range(len(ends)):
        length, first, last = lengths[query], firsts[query], lasts[query]
        best = 0
        if length > 1 and first > 0:
            best = common(text, places[first - 1], tokens, ends[query], 0, length - 1)
        if length > 1 and last < len(places):
            best = max(best, common(text, places[last], tokens, ends[query], 0, length - 1))
        shorter[query] = best


@compiled
def widen(
    text: Any, places: Any, ranks: Any, heads: Any, tokens: Any, ends: Any, lengths: Any, firsts: Any, lasts: Any
) -> None:
    """Intervals as wide as ``lengths`` [q] say; those of a longer match lie within them. 0 leaves an interval alone."""
    for query in range(len(ends)):
        length, end = lengths[query], ends[query]
        if length == 0:
            continue
        rank = ranks[tokens[end - 1]]
        head, tail = heads[rank], heads[rank + 1]
        if length == 1:
            firsts[query] = head
            lasts[query] = tail
            continue
        firsts[query] = outermost(text, places, tokens, end, length, firsts[query], head - 1, -1)
        lasts[query] = outermost(text, places, tokens, end, length, lasts[query] - 1, tail, 1) + 1


@compiled
def gather(
    text: Any, places: Any, firsts: Any, starts: Any, widths: Any, totals: Any, offsets: Any, following: Any
) -> None:
    """Write the tokens at evenly spaced places of rows into ``following``.

    Of row r, whose ``totals[r]`` places lie in several shards, this shard has ``widths[r]`` from number ``starts[r]``
    on, at index ``firsts[r]``. ``offsets[r]:offsets[r + 1]`` are the row's places of ``following``.
    """
    for row in range(len(firsts)):
        total, start, width = totals[row], starts[row], widths[row]
        room = offsets[row + 1] - offsets[row]
        if width == 0 or room == 0:
            continue
        drawn = (start * room + total - 1) // total
        number, part = (drawn * total) // room - start, (drawn * total) % room
        step, rest = total // room, total % room
        while drawn < room and number < width:
            following[offsets[row] + drawn] = text[places[firsts[row] + number]]
            drawn += 1
            number += step
            part += rest
            if part >= room:
                number += 1
                part -= room


@compiled
def tally(following: Any, offsets: Any, separator: int, seen: Any, counts: Any, sizes: Any) -> None:
    """Sort each row of ``following`` and keep each token once at its front, with its count; ``sizes`` tokens of a row.

    The separator, which ends a document, is dropped. ``seen`` has a zero for every token, and has zeros again.
    """
    for row in range(len(sizes)):
        begin, end = offsets[row], offsets[row + 1]
        size = 0
        for index in range(begin, end):
            token = following[index]
            if token == separator:
                continue
            if seen[token] == 0:
                following[begin + size] = token
                size += 1
            seen[token] += 1
        distinct = following[begin : begin + size]
        if size > 24:
            distinct.sort()
        else:
            for index in range(1, size):
                value, place = distinct[index], index
                while place > 0 and distinct[place - 1] > value:
                    distinct[place] = distinct[place - 1]
                    place -= 1
                distinct[place] = value
        for index in range(size):
            counts[begin + index] = seen[distinct[index]]
            seen[distinct[index]] = 0
        sizes[row] = size
