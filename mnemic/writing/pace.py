"""Limits of requests and tokens a minute, as a bucket of each that fills with time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Makes callers wait, so that no minute has more than ``requests`` and ``tokens``; 0 is no limit.

    A request of more tokens than a minute has waits for a full bucket.
    """

    def __init__(self, requests: int, tokens: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._sizes = (float(requests), float(tokens))
        self._levels = list(self._sizes)
        self._clock, self._filled = clock, clock()
        self._lock = threading.Lock()

    def delay(self, tokens: int) -> float:
        """Seconds to wait before a request of ``tokens``; 0.0 takes it out of the buckets."""
        with self._lock:
            now = self._clock()
            passed, self._filled = (now - self._filled) / 60, now
            waits = []
            amounts = [min(amount, size) for amount, size in zip((1.0, float(tokens)), self._sizes, strict=True)]
            for number, (size, amount) in enumerate(zip(self._sizes, amounts, strict=True)):
                self._levels[number] = min(size, self._levels[number] + size * passed)
                if size and self._levels[number] < amount:
                    waits.append(60 * (amount - self._levels[number]) / size)
            if waits:
                return max(waits)
            for number, amount in enumerate(amounts):
                self._levels[number] -= amount
            return 0.0
