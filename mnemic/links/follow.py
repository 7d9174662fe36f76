"""The links of a release, and how a search follows them: from its rows to documents, both ways of `mnemic.links.hops`.

A row is a range of units of one document, and has met the condition of the search; documents that links lead to are
rows of a search again only if they meet it too. Links lead from a document to others of its tenant alone.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mnemic.arrays import Floats
from mnemic.links import hops
from mnemic.links.graph import MOST_EDGES, Graph
from mnemic.links.hops import SOURCES, Link, ReadRow
from mnemic.links.hubs import Hubs
from mnemic.links.titles import MOST, TITLE, Titles
from mnemic.links.units import UnitRows
from mnemic.view import View

UNITS = 64
"""Sentences of a row that are read, at most."""

Range = tuple[int, int]
"""Units of a document: from the first to before the second."""


@dataclass(frozen=True)
class BestRow:
    """A row: its document, its ``score`` from 0 to 1, and its units, as ranges, those to be read first at first."""

    document: str
    score: float
    ranges: Sequence[Range]


@dataclass(frozen=True)
class Links:
    """``graph`` is None for a release with neither `edges` nor `relations`; nothing leads to the places ``hubs``."""

    titles: Titles
    units: UnitRows
    hubs: Container[int]
    graph: Graph | None = None

    @classmethod
    def of(cls, view: View) -> Links | None:
        """None for a release without titles, and for one with too many."""
        documents = view.dataset("documents")
        if TITLE not in documents.schema.names or documents.rows_of_manifest > MOST:
            return None
        titles = Titles.of(documents)
        joins = [
            view.dataset(name) if name in view and view.record(step) else None
            for name, step in (("edges", "names"), ("relations", "relations"))
        ]
        rows = sum(one.rows_of_manifest for one in joins if one is not None)
        graph = Graph.of(joins[0], titles, joins[1]) if joins != [None, None] and rows <= MOST_EDGES else None
        units = UnitRows.of(view.dataset("units"), titles)
        return cls(titles, units, Hubs(titles, units), graph)

    def named(self, question: str, documents: Sequence[str]) -> dict[str, Link]:
        """Id -> link of the documents that the ``question`` names, of the tenants of some ``documents``."""
        places = self.titles.places(documents)
        tenants = np.unique(self.titles.tenants[places[places >= 0]]).tolist()
        return self._by_id(hops.named(self.titles, question, tenants, self.hubs))

    def linked(self, question: str, vector: Floats, sources: Sequence[BestRow]) -> dict[str, Link]:
        """Id -> link of the documents that sentences of the best ``sources`` name; ``vector`` [d] has length 1."""
        best = sorted(sources, key=lambda source: (-source.score, source.document, source.ranges))[:SOURCES]
        places = self.titles.places([source.document for source in best]).tolist()
        pairs = [(source, place) for source, place in zip(best, places, strict=True) if place >= 0]
        groups = [
            np.concatenate([self.units.within(place, *one) for one in source.ranges] or [self.units.rows[:0]])[:UNITS]
            for source, place in pairs
        ]
        read = self.units.read(groups, vector)
        sentences = [
            ReadRow(place, source.score, texts, cosines)
            for (source, place), (texts, cosines) in zip(pairs, read, strict=True)
        ]
        return self._by_id(hops.linked(self.titles, question, sentences, self.hubs))

    def around(
        self, question: str, documents: Sequence[str], scores: Floats, cosines: Floats
    ) -> tuple[dict[str, Link], dict[str, Link]]:
        """Id -> link: of the ``documents`` [n] that share names with the best, and of those that mention a rare one.

        ``scores`` and ``cosines`` float64 [n] are theirs. Both are empty in a release without a graph.
        """
        if self.graph is None:
            return {}, {}
        places = self.titles.places(documents)
        there = np.flatnonzero(places >= 0)
        there = there[np.argsort(places[there], kind="stable")]
        distinct, first = np.unique(places[there], return_index=True)
        best_scores = np.maximum.reduceat(scores[there], first) if len(first) else np.empty(0)
        sought = self.graph.entities_in(question, np.unique(self.titles.tenants[distinct]).tolist())
        best = distinct[np.lexsort((distinct, -best_scores))[:SOURCES]].tolist()
        near = np.nan_to_num(cosines[there])
        walked = self.graph.walk(distinct, best_scores, self.graph.seeds(question, distinct, sought))
        return self._by_id(walked), self._by_id(self.graph.bridge(best, places[there], near, sought))

    def _by_id(self, links: Mapping[int, Link]) -> dict[str, Link]:
        return {self.titles.id(place): link for place, link in links.items()}
