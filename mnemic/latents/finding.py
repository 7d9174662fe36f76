"""Which texts with a latent serve a prompt: those that a search for it finds, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from mnemic.blocks.layout import above
from mnemic.blocks.routes import Routes
from mnemic.conditions import Where
from mnemic.latents.datasets import DOCUMENT, NODE
from mnemic.quoting import AT_ONCE, one_of
from mnemic.search.answer import Budget
from mnemic.search.searcher import Searcher
from mnemic.view import View

_WIDER = 16
"""Results of a search among rows of which not all have a latent, for each that is taken."""


class LatentFinder:
    """Finds those among ``ids`` of a ``level`` of ``view`` that serve a text, at most ``best``.

    ``where`` narrows them as it does in a search.
    """

    def __init__(self, view: View, level: str, ids: Sequence[str], where: Where, best: int) -> None:
        self.level, self.ids, self.where, self.best = level, frozenset(ids), where, best
        self._view, self._listed = view, sorted(ids)

    @cached_property
    def _searcher(self) -> Searcher:
        return Searcher(self._view)

    @cached_property
    def _routes(self) -> Routes:
        return Routes(self._view)

    def serving(self, text: str) -> list[str]:
        """The ids for ``text``; none for one without words."""
        if not self.ids or not any(map(str.isalnum, text)):
            return []
        if self.level == NODE:
            way = [path for path in above(self._routes.leaf(text)) if path in self.ids]
            return way[-self.best :]
        few = len(self.ids) <= AT_ONCE
        budget = Budget(None, None, self.best if few else self.best * _WIDER, 0.0, "within")
        hits = self._searcher.search(
            text,
            budget,
            where=[*([] if self.where is None else [self.where]), *([self._among()] if few else [])],
            level="session" if self.level == DOCUMENT else self.level,
            links=False,
        )
        scores: dict[str, float] = {}
        for hit in hits:  # of a document with several sessions the best one counts
            of = hit.document if self.level == DOCUMENT else hit.id
            scores[of] = max(hit.score, scores.get(of, hit.score))
        return self._best(scores)

    def _among(self) -> Where:
        return {"document": self._listed} if self.level == DOCUMENT else one_of("id", self._listed)

    def _best(self, scores: dict[str, float]) -> list[str]:
        mine: Collection[str] = [of for of in scores if of in self.ids]
        best = set(sorted(mine, key=lambda of: (-scores[of], of))[: self.best])
        return [of for of in mine if of in best]  # a search gives its results in their reading order
