"""Maximal spans of a text that stand in a suffix index, beginning and ending at whole words.

Of each token the index tells where the longest match that ends with it begins; these beginnings only ever move right,
so long matches, which a search compares token by token, are looked up at few of their tokens. A match that no longer
one contains is cut to whole words, in scripts without spaces to whole letters, and counted again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Integers
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import Matches, SuffixIndex
from mnemic.words import UNSPACED

LEAST = 6
"""Tokens of a span."""

RARE = 45.0
"""Nats of surprise, by how often each token stands in the index, from which on a span may have fewer than `LEAST`."""

_AT_ONCE = 64
"""Tokens of a match that are compared for every token of a text."""

_INSIDE = re.compile(rf"(?![{''.join(f'{chr(first)}-{chr(last)}' for first, last in UNSPACED)}])\w")
"""A letter that may stand inside a word."""


@dataclass(frozen=True)
class Candidate:
    """``text[start:end]`` of the traced text, which stands in the index at `count` places.

    ``matches`` has one row for each way of writing its tokens there, and ``leads`` the characters, white space, by
    which the first token begins earlier. ``surprise`` is in nats, by the frequency of its tokens.
    """

    start: int
    end: int
    tokens: int
    surprise: float
    matches: tuple[tuple[Matches, int], ...]
    leads: tuple[int, ...]

    @property
    def count(self) -> int:
        return sum(int(matches.counts[row, 0]) for matches, row in self.matches)


def begins(index: SuffixIndex, tokens: NDArray[Any]) -> Integers:
    """Where the longest match that ends with each token [n] begins, int64 [n]; behind the token where there is none."""
    ends = np.arange(1, len(tokens) + 1)
    contexts = Contexts.up_to_each(tokens, _AT_ONCE)
    starts = ends - index.matches(contexts).lengths[:, 0]
    long = ends - starts == _AT_ONCE
    long[:_AT_ONCE] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[0], long.astype(np.int8), [0]])))
    ranges = [
        (first, last - 1, int(starts[first - 1]), -1) for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
    while ranges:  # (first, last, the earliest that they may begin, where the match of the one behind begins or -1)
        probes = [last if right < 0 else (first + last) // 2 for first, last, _, right in ranges]
        lefts = [left for _, _, left, _ in ranges]
        some = Contexts(contexts.tokens, np.array(lefts, np.int64), np.array(probes, np.int64) + 1)
        halves = []
        lengths = index.matches(some).lengths[:, 0]
        for (first, last, left, right), place, length in zip(ranges, probes, lengths, strict=True):
            starts[place] = start = place + 1 - int(length)
            for low, high, before, behind in ((first, place - 1, left, start), (place + 1, last, start, right)):
                if low > high:
                    continue
                if before == behind:
                    starts[low : high + 1] = before
                else:
                    halves.append((low, high, before, behind))
        ranges = halves
    return starts


def candidates(
    index: SuffixIndex,
    text: str,
    readings: Sequence[tuple[NDArray[Any], Integers, Integers]],
    frequency: NDArray[np.float64],
    least: int = LEAST,
    rare: float = RARE,
) -> list[Candidate]:
    """The spans of ``text`` that stand in ``index``, by their place; none contains another.

    ``readings`` are the tokens [n] of the text, and where each starts and ends in it, int64 [n]. Of a further reading
    only spans count that begin with its first token, as where a space before the text, at -1, changes that.
    ``frequency`` is `surprise` of the index.
    """
    spans: dict[tuple[int, int], list[tuple[int, float, Matches, int, int]]] = {}
    for number, (tokens, starts, ends) in enumerate(readings):
        if number == 0:
            matches = _maximal(begins(index, tokens), len(tokens))
        elif len(ends) and ends[0] > 0:  # a space that is a token alone changes nothing behind it
            matches = [(0, _beginning(index, tokens))]
        else:
            continue
        bounds = _whole(text, starts, ends, matches)
        bounds = [(first, last) for first, last in bounds if number == 0 or first == 0]
        nats = np.concatenate([[0.0], np.cumsum(_of(frequency, tokens))])
        bounds = [(first, last) for first, last in bounds if last - first >= least or nats[last] - nats[first] >= rare]
        edges = np.array(bounds, np.int64).reshape(-1, 2)
        whole = Contexts.before_each(tokens)
        counted = index.matches(Contexts(whole.tokens, edges[:, 0], edges[:, 1]))
        for row, (first, last) in enumerate(bounds):
            start, end = _stripped(text, int(starts[first]), int(ends[last - 1]))
            spans.setdefault((start, end), []).append(
                (last - first, float(nats[last] - nats[first]), counted, row, start - int(starts[first]))
            )
    chosen, reached = [], -1
    for (start, end), ways in sorted(spans.items(), key=lambda span: (span[0][0], -span[0][1])):
        if end > reached and end > start:
            length, nats_of = max((way[0], way[1]) for way in ways)
            places, leads = tuple((way[2], way[3]) for way in ways), tuple(way[4] for way in ways)
            chosen.append(Candidate(start, end, length, nats_of, places, leads))
            reached = end
    return chosen


def _beginning(index: SuffixIndex, tokens: NDArray[Any]) -> int:
    """How many tokens from the first on stand in ``index`` together."""
    size = 0
    for step in (_AT_ONCE, len(tokens)):
        starts = begins(index, tokens[:step])
        size = int(np.searchsorted(starts, 1))
        if size < step:
            break
    return size


def _maximal(starts: Integers, size: int) -> list[tuple[int, int]]:
    """(first, last) of the matches that none contains, ``last`` exclusive."""
    following = np.append(starts[1:], size + 1)
    ends = np.flatnonzero((following > starts) & (starts <= np.arange(size)))
    return [(int(starts[end]), int(end) + 1) for end in ends]


def _whole(text: str, starts: Integers, ends: Integers, matches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Matches cut to whole words, each once."""
    size = len(starts)
    apart = np.ones(size + 1, np.bool_)  # a letter may have several tokens
    apart[1:-1] = starts[1:] >= ends[:-1]
    opens = [place for place in range(size) if apart[place] and _between(text, int(starts[place]))]
    closes = [place for place in range(1, size + 1) if apart[place] and _between(text, int(ends[place - 1]))]
    places = [
        (opens[first], closes[last - 1])
        for begin, end in matches
        if (first := int(np.searchsorted(opens, begin))) < len(opens)
        and (last := int(np.searchsorted(closes, end, side="right"))) > 0
        and opens[first] < closes[last - 1]
    ]
    return list(dict.fromkeys(places))


def _between(text: str, place: int) -> bool:
    """Whether no word goes on at ``place``."""
    return not (0 < place < len(text) and _INSIDE.match(text, place - 1) and _INSIDE.match(text, place))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    start = max(start, 0)
    span = text[start:end]
    return start + len(span) - len(span.lstrip()), start + len(span.rstrip())


def surprise(index: SuffixIndex) -> NDArray[np.float64]:
    """-log of the share of each token among those of the index; of one that it does not have, as if it stood once."""
    counts = np.zeros(max((len(shard.ranks) for shard in index.shards), default=0), np.float64)
    for shard in index.shards:
        there = np.flatnonzero(shard.ranks >= 0)
        counts[there] += np.diff(shard.heads)[shard.ranks[there]]
    return math.log(max(index.places, 1)) - np.log(np.maximum(counts, 1))  # type: ignore[no-any-return]


def _of(frequency: NDArray[np.float64], tokens: NDArray[Any]) -> NDArray[np.float64]:
    inside = (tokens >= 0) & (tokens < len(frequency))
    return np.where(inside, frequency[np.where(inside, tokens, 0)], 0.0) if len(frequency) else np.zeros(len(tokens))
