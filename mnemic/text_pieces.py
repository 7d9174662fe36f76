"""TextPieces of texts, looked for in columns: every run of so many characters, or of so many tokens, by its hash.

A text that is anywhere in a column shares its runs with it, wherever it begins. Runs are compared by hashes of 64 bits,
so of 10^9 runs that are compared with 10^7 about one in 2,000 searches meets one by chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.arrays import Flags, Hashes
from mnemic.splitmix import finalised

CHARACTERS = 24
"""Characters of a piece of text."""

TOKENS = 8
"""Tokens of a run."""

ID = 32
"""Characters of an id, which is looked for as a whole."""

MOST = 1 << 24
"""Runs that are looked for; of more every second one, or every third: a longer run of the text is met all the same."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_END = 0x10FFFF
"""Between two texts; no text has it, for it is no character."""

_BUCKETS = 22
"""Bits of a hash by which most runs that are not looked for are told at once."""


def hashes(symbols: NDArray[np.uint64], width: int) -> Hashes:
    """The hash of each run of ``width`` symbols, uint64 [n - width + 1]; none of fewer symbols.

    A polynomial over the symbols, put together from runs of powers of two, then mixed.
    """
    if len(symbols) < width:
        return np.empty(0, np.uint64)
    runs, length, power = symbols, 1, _BASE  # of `length` symbols; `power` is the base to that
    whole: NDArray[np.uint64] | None = None
    with np.errstate(over="ignore"):
        taken_length, rest = 0, width
        while rest:
            if rest & 1:
                if whole is None:
                    whole = runs
                else:
                    size = len(whole) - length
                    whole = whole[:size] * power + runs[taken_length : taken_length + size]
                taken_length += length
            rest >>= 1
            if rest:
                size = len(runs) - length
                runs = runs[:size] * power + runs[length : length + size]
                power, length = power * power, 2 * length
    assert whole is not None
    runs_of_width: Hashes = finalised(whole[: len(symbols) - width + 1])
    return runs_of_width


def characters(texts: pa.Array) -> NDArray[np.uint64]:
    """The characters of all ``texts``, with a mark between two of them: uint64 [n]."""
    joined = chr(_END).join(one or "" for one in texts.to_pylist())
    return np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.uint64)


def numbers(lists: pa.Array) -> NDArray[np.uint64]:
    """The numbers of all ``lists``, with a mark between two of them: uint64 [n]."""
    values = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.uint64)
    ends = np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False))
    return np.insert(values, ends[:-1], _MARK) if len(ends) else values


_MARK = np.uint64(1 << 40)
"""Between two lists of tokens: no token has this number."""


@dataclass
class TextPieces:
    """Runs of ``width`` symbols that are looked for: their hashes, ascending, and which of them were seen."""

    width: int
    values: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    step: int = 1

    @classmethod
    def of(cls, width: int, parts: Iterable[NDArray[np.uint64]]) -> TextPieces:
        """All runs inside the ``parts``; where they are more than `MOST`, every ``step``-th."""
        chosen = [np.empty(0, np.uint64)]
        for symbols in parts:
            between = np.concatenate([[0], np.cumsum((symbols == _MARK) | (symbols == _END))])
            runs = hashes(symbols, width)
            chosen.append(runs[between[width:] == between[: len(runs)]])
        step = -(-sum(map(len, chosen)) // MOST) or 1
        return cls(width, np.unique(np.concatenate([part[::step] for part in chosen])), step)

    def __post_init__(self) -> None:
        self._table = np.zeros(1 << _BUCKETS, np.bool_)
        self._table[self.values >> np.uint64(64 - _BUCKETS)] = True

    def __len__(self) -> int:
        return len(self.values)

    @property
    def unseen(self) -> Flags:
        """None of the pieces, bool [pieces]."""
        return np.zeros(len(self.values), np.bool_)

    def mark(self, symbols: NDArray[np.uint64], seen: Flags) -> None:
        """Enter in ``seen``, bool [pieces], the pieces that stand in ``symbols``."""
        if len(self.values):
            runs = hashes(symbols, self.width)
            runs = runs[self._table[runs >> np.uint64(64 - _BUCKETS)]]
            places = np.minimum(np.searchsorted(self.values, runs), len(self.values) - 1)
            seen[places[self.values[places] == runs]] = True

    def seen(self, symbols: NDArray[np.uint64]) -> Flags:
        """Which of the pieces stand in ``symbols``, bool [pieces]."""
        there = self.unseen
        self.mark(symbols, there)
        return there

    def without(self, seen: Flags) -> TextPieces:
        """The pieces that were not ``seen``."""
        return TextPieces(self.width, self.values[~seen], self.step)
