"""An event as pages, with the losses by which they are attached or not.

An event of more tokens than a page has several, each read behind those before it, so together they are what the model
has of the whole. With `chain` its first page is read behind those of earlier events of the document, so the pages of a
document are an exact prefix. What is asked of them is how well the model says the text that follows the event, behind
the sink alone, behind the event's text, and behind its pages as they are stored. An event that nothing follows is cut:
its last quarter is said behind pages of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnemic import languagemodel
from mnemic.arrays import Floats32
from mnemic.ids import hash_parts
from mnemic.pages.page import Page, page_of
from mnemic.pages.reading import PageReader, sink_ids
from operators.pages.scores import KVZIP, MEMORY3, RANDOM, REPEAT, drawn, latest, received, repeated
from operators.pages.settings import PageSettings
from operators.pages.shrink import shrunk, with_ends

SCORED = 64
"""Tokens of the text that follows an event that are said at most."""


@dataclass(frozen=True, eq=False)
class ChainedEvent:
    """An event with its tokens and whole pages; ``last`` is the id of the last one."""

    event: str
    ids: list[int]
    pages: list[Page]
    last: str


class PageWriter:
    """Makes rows of `pages` by the ``settings`` of the section, with ``model`` and its ``tokenizer``."""

    def __init__(self, settings: PageSettings, model: Any, tokenizer: Any) -> None:
        self.settings, self.tokenizer, self.reader = settings, tokenizer, PageReader(model)
        self.sink = sink_ids(tokenizer, settings.sink)
        self.before = self.reader.read(self.sink).page
        self.lock = json.dumps(languagemodel.lock(model, tokenizer), sort_keys=True)
        self.shrink = settings.shrink
        self._chain: list[ChainedEvent] = []  # the last document's: its next event is read behind them
        self._request = tokenizer(REPEAT, add_special_tokens=False)["input_ids"]

    def pieces(self, ids: Sequence[int]) -> list[list[int]]:
        """``ids`` of an event, by page."""
        return [list(ids[begin:end]) for begin, end in self.settings.spans(len(ids))]

    def rows(
        self,
        event: Mapping[str, Any],
        ids: Sequence[int],
        following: Sequence[int],
        earlier: Sequence[tuple[str, Sequence[int]]] = (),
    ) -> list[dict[str, Any]]:
        """The rows of an ``event`` (id, document, tenant) of tokens ``ids``, before those ``following`` it.

        ``earlier`` are the ids and tokens of the events that it is read behind.
        """
        pieces, standing = self.pieces(ids), self._standing(earlier)
        behind_all = [page for one in standing for page in one.pages]
        pages, columns = self.written(event["id"], pieces, behind_all)
        alone = pages if not standing else self.written(event["id"], pieces)[0]
        losses = self._losses(event["id"], ids, following, alone, columns, behind_all)
        passed = losses["loss_page"] - losses["loss_text"] <= self.settings.bound
        rows: list[dict[str, Any]] = []
        for part, (piece, own) in enumerate(zip(pieces, columns, strict=True)):
            name = self._name(event["id"], part, own)
            same = {"event": event["id"], "document": event["document"], "tenant": event["tenant"]}
            behind = rows[-1]["id"] if rows else standing[-1].last if standing else ""
            facts = {"part": part, "behind": behind, "ids": piece, "sink": self.sink, "lock": self.lock}
            rows.append({"id": name, **same, **facts, **own, **losses, "passed": bool(passed)})
        if self.settings.chain:
            self._chain = [*standing, ChainedEvent(event["id"], list(ids), pages, rows[-1]["id"])]
        return rows

    def _name(self, event: str, part: int, columns: Mapping[str, Any]) -> str:
        """The id of a page with these ``columns``."""
        return hash_parts("page", event, part, columns["check"], self.lock, json.dumps(self.sink))

    def _standing(self, earlier: Sequence[tuple[str, Sequence[int]]]) -> list[ChainedEvent]:
        """The pages of ``earlier`` events, one behind the other; those of the chain of before are not read again."""
        chain: list[ChainedEvent] = []
        for number, (event, ids) in enumerate(earlier):
            same = self._chain[number : number + 1]
            if same and (same[0].event, same[0].ids) == (event, list(ids)):
                chain.append(same[0])
                continue
            self._chain = self._chain[:number]
            behind = [page for one in chain for page in one.pages]
            pages, columns = self.written(event, self.pieces(ids), behind)
            chain.append(ChainedEvent(event, list(ids), pages, self._name(event, len(pages) - 1, columns[-1])))
        return chain

    def written(
        self, event: str, pieces: Sequence[Sequence[int]], behind: Sequence[Page] = ()
    ) -> tuple[list[Page], list[dict[str, Any]]]:
        """Of each piece of an event the whole page, and the columns of the one that is stored.

        They are read behind the sink and the pages ``behind``.
        """
        pages, columns = list[Page](), list[dict[str, Any]]()
        for piece in pieces:
            before = [self.before, *behind, *pages]
            reading = self.reader.read(piece, before, queries=self.settings.select == MEMORY3)
            page = reading.page
            rows = self.shrink.rows(page.tokens, page.sizes)
            scores = None
            if rows < page.tokens:
                scores = self._scores(event, piece, reading, before, len(pages))
                if self.settings.select != KVZIP:
                    scores = with_ends(scores, rows)
            columns.append(shrunk(page, rows, scores, self.shrink))
            pages.append(page)
        return pages, columns

    def _scores(self, event: str, ids: Sequence[int], reading: Any, before: Sequence[Page], part: int) -> Floats32:
        select, page = self.settings.select, reading.page
        if select == MEMORY3:
            return received(self.reader.model, reading)
        if select == KVZIP:
            return repeated(self.reader, ids, page, before, self._request)
        shape = (page.keys.shape[0], page.keys.shape[1], page.tokens)
        return drawn(hash_parts("page rows", event, part), shape) if select == RANDOM else latest(shape)

    def _losses(
        self,
        event: str,
        ids: Sequence[int],
        following: Sequence[int],
        pages: Sequence[Page],
        columns: Sequence[Mapping[str, Any]],
        earlier: Sequence[Page],
    ) -> dict[str, float]:
        """Nats a token of what follows, behind nothing, the text and the stored pages.

        All stand behind the sink alone, where a prompt puts a page whose ``earlier`` ones it does not have.
        """
        next_ids = list(following[:SCORED])
        if len(next_ids) < 2:
            cut = len(ids) - max(1, len(ids) // 4) - 1
            next_ids = list(ids[cut:][: SCORED + 1])
            pages, columns = self.written(event, self.pieces(ids[:cut])) if cut else ([], [])
            if earlier and cut:
                columns = self.written(event, self.pieces(ids[:cut]), earlier)[1]
        stored = [page_of({"id": event, **own}) for own in columns]
        behind = {"loss_none": [], "loss_text": pages, "loss_page": stored}
        return {
            name: float(np.float32(self.reader.losses(next_ids, [self.before, *own]).mean()))
            for name, own in behind.items()
        }
