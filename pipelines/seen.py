"""Ids that were met before, one after another, in 16 bytes each: a file may hold ten million documents."""

from __future__ import annotations

import numpy as np

_WAITING = 1 << 16
"""Ids that wait before they are sorted in among the others."""


class SeenIds:
    """Takes ids of 32 hexadecimal characters, and knows those that it has taken."""

    def __init__(self) -> None:
        self._waiting: set[bytes] = set()
        self._sorted = np.empty(0, "S16")

    def add(self, identity: str) -> bool:
        """Take one; whether it is new."""
        key = bytes.fromhex(identity)
        if key in self._waiting or self._is_sorted_in(key):
            return False
        self._waiting.add(key)
        if len(self._waiting) > max(_WAITING, len(self._sorted) // 16):
            self._sorted = np.sort(np.concatenate([self._sorted, np.array(list(self._waiting), "S16")]))
            self._waiting.clear()
        return True

    def _is_sorted_in(self, key: bytes) -> bool:
        if len(self._sorted) == 0:
            return False
        one = np.array([key], "S16")
        place = int(np.searchsorted(self._sorted, one)[0])
        return bool((self._sorted[place : place + 1] == one).any())
