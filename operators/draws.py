"""The first documents of each part of a split, in the order of their draws: as many as may fill it, and no others.

A corpus is read once, and of every part only the documents with the smallest draws are held. Where they do not fill
their part, the corpus is read again for more of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mnemic.ids import unit_draw

_REMEMBERED = 1 << 16
"""Draws of collections that are remembered."""


@dataclass(frozen=True, order=True)
class Drawn:
    """A document: its draw, id, place in the corpus, and about how many tokens it has."""

    draw: float
    id: str
    place: int
    tokens: int


@dataclass
class FirstDrawn:
    """The documents with the ``most`` smallest draws of those that were added; ``left_out``: there are more."""

    most: int
    left_out: bool = False
    _documents: list[Drawn] = field(default_factory=list)
    _bound: float = 2.0  # every draw is smaller

    def wants(self, draw: float) -> bool:
        """Whether a document with this draw may be among them."""
        self.left_out |= draw > self._bound
        return draw <= self._bound

    def add(self, document: Drawn) -> None:
        self._documents.append(document)
        if len(self._documents) > 2 * self.most:
            self._cut()

    def in_order(self) -> list[Drawn]:
        if len(self._documents) > self.most:
            self._cut()
        return sorted(self._documents)

    def _cut(self) -> None:
        self._documents = sorted(self._documents)[: self.most]
        self._bound, self.left_out = self._documents[-1].draw, True


class HeldOutCollections:
    """Which collections are held out, by draws of their names: a ``share`` of them, one at least where it is any.

    With fewer than ``fewest`` names it is none. Names are met one by one and not held, so the rule is known at the end;
    ``guess`` is what it is for all but few or unlucky names.
    """

    def __init__(self, seed: int, share: float, fewest: int) -> None:
        self._seed, self._share, self._fewest = seed, share, fewest
        self._names = set[str]()  # the first ones
        self._least = (2.0, "")
        self._draws: dict[str, float] = {}

    def meet(self, name: str) -> None:
        if name:
            if len(self._names) < self._fewest:
                self._names.add(name)
            self._least = min(self._least, (self._draw(name), name))

    def guess(self, name: str) -> bool:
        return bool(name) and self._draw(name) < self._share

    def rule(self) -> Callable[[str], bool]:
        """The rule for the names that were met; `guess` itself where that is right."""
        least, name_of_least = self._least
        few = len(self._names) < self._fewest
        if few == (least < self._share):  # it held some out that are too few, or none of many
            return lambda name: not few and name == name_of_least
        return self.guess

    def _draw(self, name: str) -> float:
        if name not in self._draws:
            if len(self._draws) >= _REMEMBERED:
                self._draws.clear()
            self._draws[name] = unit_draw(self._seed, "collection", name)
        return self._draws[name]
