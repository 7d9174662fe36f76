"""Search of one release: its encoder, its tree of clusters, and the way from a question to events within a budget."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
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
from mnemic.notes.datasets import NOTES_SPEC
from mnemic.schema import LEVELS, UNSAID
from mnemic.search.answer import Budget, sizes_with_waiting, token_counter, without_worst
from mnemic.search.buffers import cut, reading_order
from mnemic.search.condition import of_level
from mnemic.search.content import filled
from mnemic.search.documents import rank_documents
from mnemic.search.hybrid import EVENTS_HEARD, Ranked, rank_events, workers
from mnemic.search.nodes import NODE, check_nodes, search_nodes
from mnemic.search.note_hits import NoteHit
from mnemic.search.noting import RankedNotes, can_rank, rank_notes
from mnemic.search.results import Results
from mnemic.search.route import RouteTree
from mnemic.search.sharing import shared
from mnemic.search.short import check_short, short_sizes, short_texts, shortened
from mnemic.search.vector import query_vector
from mnemic.search.waiting import WaitingRows, beside
from mnemic.terminal import one_line
from mnemic.view import View, fitting, readable_condition
from mnemic.words import count_words

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

    def _waiting_vectors(self) -> WaitingVectors:
        record = self.view.record("embed")
        return WaitingVectors(self.view.path, str(record["fingerprint"]), self.encoder.encode_alone)

    def share_encoder(self, other: Searcher) -> None:
        """Take the encoder that ``other`` has loaded, if it made the vectors of this release too."""
        encoder = vars(other).get("encoder")
        if encoder is not None and _embedding(self.view) == _embedding(other.view):
            vars(self)["encoder"] = encoder

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
    def worded(self) -> bool:
        """Whether the words of whole documents are indexed."""
        return "text" in built(self.view.dataset("documents"))

    @cached_property
    def events_heard(self) -> bool:
        """Whether the words of events speak for the rows inside them (`EVENTS_HEARD`)."""
        events = self.view.dataset("events")
        return "leaf" in events.schema.names and events.count() <= EVENTS_HEARD

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

    def _sought(self, query: str, vector: object) -> Callable[[], Floats32]:
        """A function that gives the query's vector, float32 [d]: ``vector`` where there is one, else the encoder's.

        The encoder is loaded now. The query is encoded when its vector is first asked for.
        """
        if vector is not None:
            size = self.view.dataset("events").schema.field("vector").type.list_size
            stated = query_vector(vector, size)
            return lambda: stated
        encoder = self.encoder
        return functools.cache(lambda: self._encoded(encoder, query))

    def _encoded(self, encoder: TextEncoder, query: str) -> Floats32:
        try:
            encoded: Floats32 = encoder.encode_queries([query])[0]
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            # It is asked amid the search, where such an error would be taken for one of the bank or the condition.
            raise ModelError(
                f"The encoder cannot encode this query ({type(error).__name__}: {one_line(str(error), 100)}). "
                "Try other words; if it encodes none, install its files anew."
            ) from error
        if not np.isfinite(encoded).all():
            raise ModelError(
                "The encoder gives no finite vector for this query (NaN or infinite). Try other words, or "
                "dtype=float32 under embed and build the bank again."
            )
        return encoded

    def _ranked(
        self,
        query: str,
        vector: Callable[[], Floats32],
        conditions: Conditions,
        level: str | None,
        near: str | None,
        pool: int,
        links: bool = False,
        notes: Callable[[], RankedNotes] | None = None,
    ) -> Ranked:
        """The rows of ``level`` that satisfy the conditions, from best to worst."""
        events, documents = self.view.dataset("events"), self.view.dataset("documents")
        where, within = conditions.sql(events.schema, "events"), conditions.of_documents()
        if level == "session" and self.placed:
            titles = documents if self.titled else None
            followed = self.links if links else None
            return rank_documents(events, query, vector, where, titles, within, near=near, pool=pool, links=followed)
        indexed = level != "session" and self.worded
        return rank_events(
            events,
            query,
            vector,
            where,
            level,
            documents if indexed else None,
            within,
            events_heard=level not in ("session", "event") and self.events_heard,
            varying=conditions.vary,
            near=near,
            pool=pool,
            titles=self.titled,
            links=self.links if links else None,
            notes=notes,
        )

    def _note_share(self, notes: float | None, level: str | None) -> float | None:
        """The share of the budget for notes, 0 where they only rank rows, None where they play no part."""
        there = can_rank(self.view)
        if notes is None:
            return 0.0 if there and level is None else None
        if notes is False:
            return None
        if not there:
            raise QueryError(
                f"Release {self.view.release.name} of {self.view.path} has no notes with vectors, so notes={notes} can "
                "give none. Add the section `written` to its recipe and build again, or leave `notes` out."
            )
        if level in ("session", "event", NODE):
            raise QueryError(
                f"Notes are made of the smallest rows, and this search is for level={level!r}. Leave out `level` or "
                "`notes`."
            )
        if notes is True:
            return 0.0
        if isinstance(notes, bool) or not isinstance(notes, int | float) or not 0 < notes < 1:
            raise QueryError(
                f"A share notes={notes!r} of the budget cannot be; give True, which ranks by notes, or a share "
                "between 0 and 1."
            )
        return float(notes)

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
        notes: float | None = None,
        short: bool = False,
    ) -> Results:
        """See `mnemic.bank.Bank.search`; ``vector`` is the query's, float32 [d]."""
        if not query.strip():
            raise QueryError("The query is empty. Ask for something, as in bank.search('how do I tag a version?').")
        query = query.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no meaning to search for
        conditions = Conditions.of(where)
        if level is not None and level not in (*LEVELS, NODE):
            raise QueryError(f"There is no level {level!r} of events; choose one of {', '.join((*LEVELS, NODE))}.")
        share = self._note_share(notes, level)
        if share and not (budget.words or budget.tokens):
            raise QueryError("Notes share a budget of words or tokens, and this search has none; set words or tokens.")
        budget = budget if budget.words or budget.tokens or budget.k else dataclasses.replace(budget, k=10)
        count = None if budget.tokens is None else token_counter(budget.tokenizer, lambda: self.encoder)
        if level == NODE:
            return self._nodes(query, self._sought(query, vector)(), conditions, budget, count)
        view, events = self.view, self.view.dataset("events")
        if short:
            check_short(view, level)
        allowed = conditions.sql(events.schema, "events")
        sought = self._sought(query, vector)
        routed = None if route is None else self.tree.route(sought(), route)
        with fitting(view, "The events"), readable_condition(allowed, events, "events"):
            near, follow = routed.condition if routed else None, level in (None, "session") if links is None else links
            ranked_notes = None if share is None else self._ranked_notes(query, sought(), conditions, level)
            by_notes = ranked_notes if share == 0 else None
            ranked = self._ranked(query, sought, conditions, level, near, budget.pool, follow, by_notes)
            waiting = [] if self._waiting is None else self._waiting.rows(level)
            if waiting:
                whole = level == "session" and self.placed
                ranked = beside(ranked, waiting, events, query, sought(), allowed, budget.pool, whole)
        sizes = sizes_with_waiting(view, ranked, count, budget.dated)
        note_list = list[NoteHit]()
        with fitting(view, "The events and documents"):
            texts = short_texts(view, ranked, level) if short and level else {}
            sizes = short_sizes(ranked, sizes, texts, count) if texts else sizes
            if share and ranked_notes is not None:
                rows = of_level(level, allowed, events.schema.names)
                counted = count or count_words
                note_list, budget = shared(view, ranked, ranked_notes(), sizes, budget, share, rows, counted)
            hits = [shortened(hit, texts) for hit in filled(view, ranked, sizes, budget)]
        if budget.words is not None and len(hits) == 1 and budget.fit == "within":
            hits = [cut(hits[0], budget.words)]
        scanned = self.probed if routed is None else routed.share
        results = Results(reading_order(hits), scanned, note_list)
        return without_worst(results, budget, count) if budget.dated and budget.fit == "within" else results

    def _nodes(
        self,
        query: str,
        vector: Floats32,
        conditions: Conditions,
        budget: Budget,
        count: Callable[[str], int] | None,
    ) -> Results:
        check_nodes(self.view)
        with fitting(self.view, "The clusters and their excerpts"):
            hits = search_nodes(self.view, self.tree, query, vector, conditions, budget, count)
        if budget.words is not None and len(hits) == 1 and budget.fit == "within":
            hits = [cut(hits[0], budget.words)]
        return Results(hits)

    def _ranked_notes(
        self, query: str, vector: Floats32, conditions: Conditions, level: str | None
    ) -> Callable[[], RankedNotes]:
        """The notes that answer, of those that satisfy the conditions by name which notes can be asked.

        They are ranked in another thread while rows are.
        """
        notes = self.view.dataset(NOTES_SPEC.name)
        names = notes.schema.names
        exact = level is None and not conditions.vary and all(name in names for name, _ in conditions.named)
        return workers().submit(rank_notes, notes, query, vector, conditions.of_columns(names), exact).result


def _embedding(view: View) -> tuple[Any, Any]:
    """What makes the vectors of a release: the section of its recipe, and the fields as they were resolved."""
    return view.release.recipe.get("embed"), view.record("embed").get("fields")
