"""All places of a string of bytes in a suffix index of tokens, however it is tokenized there.

The string may begin and end inside tokens, and its tokens in a long text need not be those that it has alone. So
the search is over bytes. A place of the string has whole tokens inside it, with a part of one more on each side; of
these whole tokens those that end the string are tried from its end leftwards, for every end that they can have, and
the index says which sequences stand there. What is rare by then is compared byte by byte. Places inside one longer
token, and across two of which neither is whole, are looked up by those tokens. Each place is in one of these cases,
once, so counts are exact; strings of some letters have many, and take time in proportion to the tokens that have them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Integers
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import Matches, SuffixIndex
from mnemic.suffixes.shard import Shard
from mnemic.trace.pieces import Pieces

_RARE = 64
"""Places of a sequence of tokens from which on they are compared one by one."""

_AT_ONCE = 1 << 20
"""Places that are looked at together."""


@dataclass(frozen=True)
class Positions:
    """Places of the string in one shard: the token ``firsts`` in which each begins, and ``skips`` bytes into it.

    ``shard`` is a number in `SuffixIndex.shards`; int64 [n] both.
    """

    shard: int
    firsts: Integers
    skips: Integers


def places_of(index: SuffixIndex, pieces: Pieces, text: bytes) -> Iterator[Positions]:
    """All places of ``text``, which has a byte at least, each once; in no order."""
    for number, shard in enumerate(index.shards):
        yield from _inside(number, shard, pieces, text)
        yield from _across(number, shard, pieces, text)
    yield from _Sequences(index, pieces, text).places()


def _inside(number: int, shard: Shard, pieces: Pieces, text: bytes) -> Iterator[Positions]:
    """Places inside one token that is longer."""
    tokens, skips = pieces.around(text)
    for owner, places in _ranges(shard, *_behind(shard, tokens)):
        yield Positions(number, places - 1, skips[owner])


def _across(number: int, shard: Shard, pieces: Pieces, text: bytes) -> Iterator[Positions]:
    """Places across two tokens that are both longer than their part."""
    for cut in range(max(1, len(text) - pieces.longest), min(len(text), pieces.longest)):
        left, right = pieces.ending(text[:cut]), pieces.starting(text[cut:])
        if not len(left) or not len(right):
            continue
        ranges = [_behind(shard, tokens) for tokens in (left, right)]
        behind = (ranges[0][1] - ranges[0][0]).sum() <= (ranges[1][1] - ranges[1][0]).sum()
        other = _flags(shard, right if behind else left)
        for _, places in _ranges(shard, *ranges[0 if behind else 1]):
            firsts = places - 1 if behind else places - 2
            beside = firsts + 1 if behind else firsts
            firsts = firsts[(beside >= 0) & _has(other, shard.tokens[np.maximum(beside, 0)])]
            yield Positions(number, firsts, pieces.sizes[shard.tokens[firsts]] - cut)


class _Sequences:
    """Places with a whole token inside. ``text[:end]`` ends with a token; what is behind is part of the next one."""

    def __init__(self, index: SuffixIndex, pieces: Pieces, text: bytes) -> None:
        self.index, self.pieces, self.text = index, pieces, text

    def places(self) -> Iterator[Positions]:
        text, longest = self.text, self.pieces.longest
        ends = range(max(1, len(text) - longest), len(text) + 1)
        following = {end: self.pieces.starting(text[end:]) for end in ends if end < len(text)}
        states: list[tuple[tuple[int, ...], int, int]] = [
            ((), end, end) for end in ends if end == len(text) or len(following[end])
        ]
        behind = [
            {end: _flags(shard, tokens) for end, tokens in following.items() if len(tokens)}
            for shard in self.index.shards
        ]
        while states:
            states = [
                ((token, *sequence), end, left - size)
                for sequence, end, left in states
                for size in range(1, min(left, longest) + 1)
                for token in self.pieces.tokens.get(text[left - size : left], ())
            ]
            matches = self.index.matches(Contexts.of([sequence for sequence, _, _ in states], longest=None))
            whole = matches.lengths[:, 0] == [len(sequence) for sequence, _, _ in states]
            longer = []
            for place in np.flatnonzero(whole):
                sequence, end, left = states[place]
                rare = bool(matches.counts[place, 0] <= _RARE)
                yield from self._ended(matches, int(place), states[place], behind, rare)
                if left and not rare:
                    longer.append((sequence, end, left))
            states = longer

    def _ended(
        self,
        matches: Matches,
        context: int,
        state: tuple[tuple[int, ...], int, int],
        behind: list[dict[int, NDArray[np.bool_]]],
        rare: bool,
    ) -> Iterator[Positions]:
        """The places of a sequence that the rest of the text stands around.

        The sequence of a common state, not ``rare``, is the whole of the tokens inside; of a rare one more may follow.
        """
        sequence, end, left = state
        before = self.pieces.ending(self.text[:left]) if left and not rare else np.empty(0, np.int64)
        if left and not rare and not len(before):
            return
        for number, shard in enumerate(self.index.shards):
            ranges = (matches.firsts[number, context, :1], matches.lasts[number, context, :1])
            for _, places in _ranges(shard, *ranges):
                fits = _has(behind[number][end], shard.tokens[places]) if end < len(self.text) else slice(None)
                firsts = places[fits] - len(sequence)
                if rare and left:
                    yield self._compared(number, shard, firsts, left)
                elif left:
                    flags = _flags(shard, before)
                    firsts = firsts[firsts > 0] - 1
                    firsts = firsts[_has(flags, shard.tokens[firsts])]
                    yield Positions(number, firsts, self.pieces.sizes[shard.tokens[firsts]] - left)
                else:
                    yield Positions(number, firsts, np.zeros_like(firsts))

    def _compared(self, number: int, shard: Shard, firsts: Integers, left: int) -> Positions:
        """Those of ``firsts`` before which ``text[:left]`` stands: where it begins."""
        begins = [self._begin(shard, int(first), left) for first in firsts]
        places = [begin for begin in begins if begin is not None]
        tokens, skips = zip(*places, strict=True) if places else ((), ())
        return Positions(number, np.array(tokens, np.int64), np.array(skips, np.int64))

    def _begin(self, shard: Shard, first: int, left: int) -> tuple[int, int] | None:
        pieces, text = self.pieces, self.text
        while left > 0:
            first -= 1
            if first < 0 or shard.tokens[first] >= len(pieces.pieces):
                return None
            piece = pieces.pieces[shard.tokens[first]]
            if not piece or not (text.endswith(piece, 0, left) or piece.endswith(text[:left])):
                return None
            left -= len(piece)
        return first, -left


def _ranges(shard: Shard, firsts: Integers, lasts: Integers) -> Iterator[tuple[Integers, Integers]]:
    """(number of the range, place) for all places of ranges of ``shard.places``, some at a time: int64 [n] each."""
    sizes = np.maximum(lasts - firsts, 0)
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _AT_ONCE):
        numbers = np.arange(start, min(start + _AT_ONCE, total))
        owner = np.searchsorted(ends, numbers, side="right")
        yield owner, shard.places[firsts[owner] + numbers - (ends - sizes)[owner]].astype(np.int64)


def _behind(shard: Shard, tokens: Integers) -> tuple[Integers, Integers]:
    """The ranges of ``shard.places`` behind each of ``tokens``; empty for those that the shard has not."""
    ranks = np.where(tokens < len(shard.ranks), shard.ranks[np.minimum(tokens, len(shard.ranks) - 1)], -1)
    there = ranks >= 0
    ranks = np.where(there, ranks, 0)
    firsts = shard.heads[ranks]
    return firsts, np.where(there, shard.heads[np.minimum(ranks + 1, len(shard.heads) - 1)], firsts)


def _flags(shard: Shard, tokens: Integers) -> NDArray[np.bool_]:
    """By token, whether it is one of ``tokens``; the last is for all that are larger, the separator among them."""
    flags: NDArray[np.bool_] = np.zeros(len(shard.ranks) + 1, np.bool_)
    flags[tokens[tokens < len(shard.ranks)]] = True
    return flags


def _has(flags: NDArray[np.bool_], tokens: NDArray[Any]) -> NDArray[np.bool_]:
    return flags[np.minimum(tokens, len(flags) - 1)]  # type: ignore[no-any-return]
