"""What an index says of contexts, as a memory: a distribution for each order, and how sure it is.

A gate weighs the orders by the length of the longest match, one-hot up to 10 since small lengths differ most, and by
count, largest share and whether only one token follows, for each order. All are known before the token is seen, and
tuning and generation compute them here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import Continuations, SuffixIndex

Floats = NDArray[np.float64]

ORDERS = 3
"""Orders that a memory of suffixes answers with, where it is alone; beside others one says nearly as much."""

LENGTHS = 10
"""Lengths of the longest match that are told apart; the last is that and more."""


@dataclass(frozen=True)
class SuffixAnswers:
    """Of contexts: ``lengths`` and ``counts`` int64 [n, orders]; ``continuations`` have a row for each of these."""

    lengths: NDArray[np.int64]
    counts: NDArray[np.int64]
    continuations: Continuations

    @classmethod
    def of(cls, index: SuffixIndex, contexts: Contexts, orders: int = ORDERS) -> SuffixAnswers:
        matches = index.matches(contexts, orders)
        return cls(matches.lengths, matches.counts, index.continuations(matches))

    @property
    def orders(self) -> int:
        return self.lengths.shape[1]

    @property
    def there(self) -> NDArray[np.bool_]:
        """Whether an order of a context has a next token, bool [n, orders]."""
        return (np.diff(self.continuations.begins) > 0).reshape(self.lengths.shape)

    def features(self, name: str) -> tuple[tuple[str, ...], Floats]:
        """Names, which begin with ``name``, and values float64 [n, features]."""
        begins, shares = self.continuations.begins, self.continuations.shares
        largest = np.zeros(len(begins) - 1)
        filled = np.diff(begins) > 0
        if filled.any():
            largest[filled] = np.maximum.reduceat(shares, begins[:-1][filled])
        single = (np.diff(begins) == 1).astype(np.float64)
        longest = np.minimum(self.lengths[:, :1], LENGTHS) == np.arange(LENGTHS + 1)
        shape = self.lengths.shape
        columns = [longest, np.log1p(self.counts) / 4, largest.reshape(shape), single.reshape(shape)]
        orders = range(1, self.orders + 1)
        names = [f"{name}.length={length}" for length in range(LENGTHS + 1)]
        names += [f"{name}.{what}/{order}" for what in ("count", "share", "single") for order in orders]
        return tuple(names), np.concatenate(columns, axis=1).astype(np.float64)

    def label_logs(self, token: NDArray[np.int64], otherwise: Floats) -> Floats:
        """log p of each context's next ``token`` [n] by each order, float64 [n, orders].

        -inf where another token follows, and ``otherwise`` [n] where none does: then the order leaves its share to who
        says that.
        """
        continuations = self.continuations
        row = continuations.row
        own = continuations.tokens == token[row // self.orders]
        logs = np.full(len(continuations.begins) - 1, -np.inf)
        logs[row[own]] = np.log(continuations.shares[own])
        return np.where(self.there, logs.reshape(self.lengths.shape), otherwise[:, None])
