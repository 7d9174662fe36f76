"""What a gate knows of a match before the token is seen, from what the suffix index says of contexts.

Small lengths differ most, so the length of the longest match is one-hot up to 10, and a logarithm beyond; each order
has its count, the share of its most frequent continuation, and whether there is but one. Tuning and generation compute
them here, so that a gate is asked what it was trained on.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mnemic.arrays import Flags, Floats, Integers

LENGTHS = 10
"""Lengths of the longest match that are told apart; the last is that and more."""


class Match(Protocol):
    """Arrays [n, orders], as `mnemic.suffixes.evidence.Evidence` has them."""

    @property
    def lengths(self) -> Integers: ...
    @property
    def counts(self) -> Integers: ...
    @property
    def largest(self) -> Floats: ...
    @property
    def single(self) -> Flags: ...


def names_of(memory: str, orders: int) -> tuple[str, ...]:
    """Names of the columns of `features`, of the memory of this name."""
    lengths = [f"{memory}.length={length}" for length in range(LENGTHS + 1)]
    each = [f"{memory}.{what}/{order}" for what in ("count", "share", "single") for order in range(1, orders + 1)]
    return (*lengths, f"{memory}.length", *each)


def features(match: Match) -> Floats:
    """float64 [n, features], as `names_of` names them."""
    longest = match.lengths[:, :1]
    columns = [
        np.minimum(longest, LENGTHS) == np.arange(LENGTHS + 1),
        np.log1p(longest) / 4,
        np.log1p(match.counts) / 4,
        match.largest,
        match.single,
    ]
    return np.concatenate(columns, axis=1).astype(np.float64)
