"""Search of one release: its encoder, its tree of clusters, and the way from a question to events within a budget."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.arrays import Floats32
from mnemic.conditions import Conditions, Where
from mnemic.dataset.index import built, search_settings
from mnemic.errors import ModelError, QueryError
from mnemic.inbox.inbox import Inbox
from mnemic.inbox.vectors import WaitingVectors
from mnemic.links.follow import Links
from mnemic.models import weights_hash
from mnemic.schema import LEVELS, UNSAID
from mnemic.search.answer import Budget, sizes_with_waiting, token_counter, without_worst
from mnemic.search.buffers import cut, reading_order
from mnemic.search.content import filled
from mnemic.search.documents import rank_documents
from mnemic.search.hybrid import EVENTS_HEARD, Ranked, rank_events
from mnemic.search.results import Results
from mnemic.search.route import RouteTree
from mnemic.search.vector import query_vector
from mnemic.search.waiting import WaitingRows, beside
from mnemic.view import View, fitting, readable_condition

if TYPE_CHECKING:
    from mnemic.encoder import TextEncoder


class Searcher:
    """Searches the events of ``view``, and what waits in ``inbox``, None for nothing.

    Encoder and tree are loaded when they are first needed.
    """

    def __init__(self, view: View, inbox: Inbox | None = None) -> None:
        self.view = view
        self._waiting = None if inbox is None else WaitingRows(inbox, self._waiting_vectors)

    def __getstate__(self) -> dict[str, Any]:
        """Without encoder and tree, which a copy loads itself."""
        return {"view": self.view, "_waiting": None}

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder that made the event vectors, loaded on first use and checked against its recorded hash."""
        from mnemic.encoder import TextEncoder

        with fitting(self.view, "The recipe and the record of the encoder"):
            settings, fields = self.view.release.recipe["embed"], self.view.record("embed")["fields"]
            address, recorded = str(settings["model"]), fields["model"]
        if weights_hash(address) != recorded:
            raise ModelError(
                f"The encoder {address} is not the one that this bank was built with (its weights differ), "
                "so its vectors cannot be compared. Install the version it was built with, or build the bank again."
            )
        with fitting(self.view, "The recipe and the record of the encoder"):
            return TextEncoder.of_recipe(settings, fields)

    def share_encoder(self, other: Searcher) -> None:
        """Take the encoder that ``other`` has loaded, if it made the vectors of this release too."""
        encoder = vars(other).get("encoder")
        if encoder is not None and _embedding(self.view) == _embedding(other.view):
            vars(self)["encoder"] = encoder

    def _waiting_vectors(self) -> WaitingVectors:
        record = self.view.record("embed")
        return WaitingVectors(self.view.path, str(record["fingerprint"]), self.encoder.encode_alone)

    @cached_property
    def probed(self) -> float:
        """The share of the vectors that a search without conditions looks at: of an index some partitions, else all."""
        settings = search_settings(self.view.dataset("events"), "vector")
        return 1.0 if settings is None else min(1.0, settings.nprobes / settings.partitions)

    @cached_property
    def placed(self) -> bool:
        """Whether the vectors know where their units stand: those of a bank whose recipe has `context`."""
        return bool(self.view.record("context"))

    @cached_property
    def titled(self) -> bool:
        """Whether titles of documents are heard: their words are indexed in banks whose recipe has `context`."""
        return self.placed and UNSAID in built(self.view.dataset("documents"))

    @cached_property
    def links(self) -> Links | None:
        """The links between documents, of banks whose recipe has `context`; loaded by the first search with them."""
        with fitting(self.view, "The titles and units"):
            return Links.of(self.view) if self.placed else None

    @cached_property
    def tree(self) -> RouteTree:
        """The tree of clusters, for routing."""
        with fitting(self.view, "The clusters"):
            return RouteTree.of(self.view.dataset("clusters"))

    def _query_vector(self, query: str, vector: object) -> Floats32:
        """The vector of the query, float32 [d]: ``given`` where the caller has it, else the encoder's."""
        size = self.view.dataset("events").schema.field("vector").type.list_size
        if vector is not None:
            return query_vector(vector, size)
        encoded: Floats32 = self.encoder.encode_queries([query])[0]
        if not np.isfinite(encoded).all():
            raise ModelError(
                "The encoder gives no finite vector for this query (NaN or infinite). Try other words, or "
                "dtype=float32 under embed and build the bank again."
            )
        return encoded

    def _ranked(
        self,
        query: str,
        vector: Floats32,
        conditions: Conditions,
        level: str | None,
        near: str | None,
        pool: int,
        links: bool = False,
    ) -> Ranked:
        """The rows of ``level`` that satisfy the conditions, from best to worst."""
        events, documents = self.view.dataset("events"), self.view.dataset("documents")
        where, within = conditions.sql(events.schema, "events"), conditions.of_documents()
        if level == "session" and self.placed:
            titles = documents if self.titled else None
            followed = self.links if links else None
            return rank_documents(events, query, vector, where, titles, within, near=near, pool=pool, links=followed)
        indexed = level != "session" and "text" in built(documents)
        return rank_events(
            events,
            query,
            vector,
            where,
            level,
            documents if indexed else None,
            within,
            events_heard=level not in ("session", "event")
            and "leaf" in events.schema.names
            and events.count() <= EVENTS_HEARD,
            varying=conditions.vary,
            near=near,
            pool=pool,
            titles=self.titled,
            links=self.links if links else None,
        )

    def search(
        self,
        query: str,
        budget: Budget,
        *,
        where: Where = None,
        level: str | None = None,
        route: int | None = None,
        vector: np.ndarray[Any, Any] | None = None,
        links: bool | None = None,
    ) -> Results:
        """See `mnemic.bank.Bank.search`; ``vector`` is the query's, float32 [d]."""
        if not query.strip():
            raise QueryError("The query is empty. Ask for something, as in bank.search('how do I tag a version?').")
        query = query.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no meaning to search for
        view, events = self.view, self.view.dataset("events")
        conditions = Conditions.of(where)
        allowed = conditions.sql(events.schema, "events")
        if level is not None and level not in LEVELS:
            raise QueryError(f"There is no level {level!r} of events; choose one of {', '.join(LEVELS)}.")
        sought = self._query_vector(query, vector)
        routed = None if route is None else self.tree.route(sought, route)
        budget = budget if budget.words or budget.tokens or budget.k else dataclasses.replace(budget, k=10)
        with fitting(view, "The events"), readable_condition(allowed, events, "events"):
            near, follow = routed.condition if routed else None, level in (None, "session") if links is None else links
            ranked = self._ranked(query, sought, conditions, level, near, budget.pool, follow)
            waiting = [] if self._waiting is None else self._waiting.rows(level)
            if waiting:
                whole = level == "session" and self.placed
                ranked = beside(ranked, waiting, events, query, sought, allowed, budget.pool, whole)
        count = None if budget.tokens is None else token_counter(budget.tokenizer, lambda: self.encoder)
        sizes = sizes_with_waiting(view, ranked, count, budget.dated)
        with fitting(view, "The events and documents"):
            hits = filled(view, ranked, sizes, budget)
        if budget.words is not None and len(hits) == 1 and budget.fit == "within":
            hits = [cut(hits[0], budget.words)]
        results = Results(reading_order(hits), self.probed if routed is None else routed.share)
        return without_worst(results, budget, count) if budget.dated and budget.fit == "within" else results


def _embedding(view: View) -> tuple[Any, Any]:
    """What makes the vectors of a release: the section of its recipe, and the fields as they were resolved."""
    return view.release.recipe.get("embed"), view.record("embed").get("fields")
