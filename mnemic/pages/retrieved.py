"""Which events prompts have retrieved, written down for the next build: of a bank whose pages are of these alone."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.pages.datasets import RETRIEVED

_AT_ONCE = 64
"""Events of one commit, unless the memory is detached before."""


class Retrieved:
    """Events that were retrieved from the bank in ``store``, each written down once a process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._written, self._waiting = set[str](), set[str]()

    def add(self, events: Iterable[str]) -> None:
        """Take note of ``events``, by id."""
        self._waiting |= set(events) - self._written
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write down what waits. A bank that cannot be written to stays as it is."""
        events, self._waiting = sorted(self._waiting), set()
        self._written |= set(events)
        if not events:
            return
        try:
            append_rows(self.store["retrieved"], pa.table({"event": events}, schema=RETRIEVED), RETRIEVED, {})
        except OSError:
            return
