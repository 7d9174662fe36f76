"""What is held for the conditions of searches: for those that were asked last, tenants mostly.

A condition is SQL, or None for all rows. Whoever holds something guards it with a lock of its own.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")

CONDITIONS = 64
"""Conditions that something is held for."""

LONGEST = 10_000
"""Characters of a condition that is remembered."""


def remembered(where: str | None) -> bool:
    """Whether a condition is short enough."""
    return len(where or "") <= LONGEST


class Recent(Generic[ValueT]):
    """Values by condition: of the `CONDITIONS` that were asked last, and of ``most_bytes`` together, each of ``size``.

    The newest stays, whatever it takes.
    """

    def __init__(self, most_bytes: float = math.inf, size: Callable[[ValueT], int] = lambda value: 0) -> None:
        self.most_bytes, self._size = most_bytes, size
        self._values: OrderedDict[str | None, ValueT] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, where: str | None) -> bool:
        return where in self._values

    def __getitem__(self, where: str | None) -> ValueT:
        self._values.move_to_end(where)
        return self._values[where]

    def __setitem__(self, where: str | None, value: ValueT) -> None:
        if where in self._values:
            self._bytes -= self._size(self._values.pop(where))
        self._values[where] = value
        self._bytes += self._size(value)
        while len(self._values) > 1 and (len(self._values) > CONDITIONS or self._bytes > self.most_bytes):
            self._bytes -= self._size(self._values.popitem(last=False)[1])


class Questions:
    """Questions by condition: the ``patience``-th with one is the first for which it is worth to hold anything."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._counts: Counter[str | None] = Counter()

    def worth(self, where: str | None) -> bool:
        """Whether this question is the one; the next ones with its condition are counted anew."""
        if not remembered(where):
            return False
        self._counts[where] += 1
        if self._counts[where] >= self._patience:
            del self._counts[where]
            return True
        if len(self._counts) > CONDITIONS:
            self._counts.clear()
        return False
