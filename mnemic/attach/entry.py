"""A memory's handle in a model: it acts until it is closed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Self


class Place(Protocol):
    """Where entries act; it can take one away."""

    def remove(self, entry: Any) -> None: ...


class Entry:
    """Something that acts in a model from now on. `close` takes it away; entries close in any order, and only once.

    ``place`` is where it acts; None for what acts nowhere, such as a memory at weight 0.
    """

    def __init__(self, place: Place | None = None) -> None:
        self.place = place

    def close(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            place.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Entries(Entry):
    """Several entries as one: a memory that widens every block closes all of them at once."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        super().__init__()
        self.entries = list(entries)

    def close(self) -> None:
        for entry in self.entries:
            entry.close()
