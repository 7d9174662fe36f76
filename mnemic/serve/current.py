"""The newest release of a bank, opened and warm, while builds go on writing.

A thread looks at the dataset of releases; a new one is opened and asked once, and then takes the place of the one
before. Whoever has begun on that one ends on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from mnemic.bank import Bank, open_bank
from mnemic.dataset.index import hold_vectors, search_settings
from mnemic.errors import BankError, MnemicError
from mnemic.release import find_release
from mnemic.serve.refusals import log

T = TypeVar("T")

LOCAL_SECONDS, REMOTE_SECONDS = 0.4, 4.0
"""Between two looks at a bank on a disk, and in an object store, where each look is a request that costs."""


HELD_BYTES = 256 << 20
"""Of vectors without an index that are held in memory; 77 MB are those of 50,000 rows of 384 components."""


class CurrentBank:
    """The bank at ``path``: its newest release, or for ever the one called ``release``.

    ``follow`` begins to look for new releases, ``stop`` ends it.
    """

    def __init__(self, path: str, release: str | None = None) -> None:
        self._bank = open_bank(path, release)
        self._pinned = release is not None
        self._seen = self._version()
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def bank(self) -> Bank:
        """The newest release that is ready."""
        return self._bank

    @property
    def roots(self) -> tuple[str, ...]:
        """Paths of the bank, which no caller is told."""
        return (self._bank.path,)

    def answer(self, ask: Callable[[Bank], T]) -> T:
        """What ``ask`` says of the newest release; once more where that was ended meanwhile, and another is there."""
        bank = self._bank
        try:
            return ask(bank)
        except BankError:
            if self._pinned or (not self.look() and self._bank is bank):
                raise
            return ask(self._bank)

    def warm(self) -> None:
        """Load what a first search needs."""
        _warm(self._bank)

    def follow(self) -> None:
        """Look for new releases from now on, in a thread."""
        if not self._pinned and self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="mnemic-releases", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def look(self) -> bool:
        """Whether there is a newer release, which then takes the place of the one before."""
        with self._looking:
            version = self._version()
            if version == self._seen:
                return False
            newest = find_release(self._bank.store, None)
            if newest == self._bank.release:
                self._seen = version
                return False
            fresh = Bank(self._bank.store, newest)
            fresh._searcher.share_encoder(self._bank._searcher)
            _warm(fresh)
            self._bank, self._seen = fresh, version
        log(f"serving release {newest.name}")
        return True

    def _version(self) -> int:
        snapshot = self._bank.store["releases"].snapshot()
        return 0 if snapshot is None else snapshot.version

    def _follow(self) -> None:
        every = REMOTE_SECONDS if "://" in self._bank.path else LOCAL_SECONDS
        last = ""
        while not self._ended.wait(every):
            try:
                self.look()
                last = ""
            except (MnemicError, OSError, ValueError, RuntimeError) as error:  # the one before goes on being served
                if str(error) != last:
                    log(f"a new release cannot be read: {error}")
                last = str(error)


def _warm(bank: Bank) -> None:
    if not bank.release.counts.get("events"):
        return
    events = bank.dataset("events")
    size = 4 * events.count() * events.schema.field("vector").type.list_size
    if search_settings(events, "vector") is None and size <= HELD_BYTES:
        hold_vectors(events, "vector")
    bank.search("a warm question", words=None, k=1)
