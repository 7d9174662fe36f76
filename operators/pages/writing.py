"""An event as pages, with the losses by which they are attached or not.

An event of more tokens than a page has several, each read behind those before it, so together they are what the model
has of the whole. What is asked of them is how well the model says the text that follows the event, behind the sink
alone, behind the event's text, and behind its pages as they are stored. An event that nothing follows is cut: its last
quarter is said behind pages of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


class PageWriter:
    """Makes rows of `pages` by the ``settings`` of the section, with ``model`` and its ``tokenizer``."""

    def __init__(self, settings: PageSettings, model: Any, tokenizer: Any) -> None:
        self.settings, self.tokenizer, self.reader = settings, tokenizer, PageReader(model)
        self.sink = sink_ids(tokenizer, settings.sink)
        self.before = self.reader.read(self.sink).page
        self.lock = json.dumps(languagemodel.lock(model, tokenizer), sort_keys=True)
        self.shrink = settings.shrink
        self._request = tokenizer(REPEAT, add_special_tokens=False)["input_ids"]

    def pieces(self, ids: Sequence[int]) -> list[list[int]]:
        """``ids`` of an event, by page."""
        return [list(ids[begin:end]) for begin, end in self.settings.spans(len(ids))]

    def rows(self, event: Mapping[str, Any], ids: Sequence[int], following: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of an ``event`` (id, document, tenant) of tokens ``ids``, before those ``following`` it."""
        pieces = self.pieces(ids)
        pages, columns = self.written(event["id"], pieces)
        losses = self._losses(event["id"], ids, following, pages, columns)
        passed = losses["loss_page"] - losses["loss_text"] <= self.settings.bound
        rows: list[dict[str, Any]] = []
        for part, (piece, own) in enumerate(zip(pieces, columns, strict=True)):
            name = hash_parts("page", event["id"], part, own["check"], self.lock, json.dumps(self.sink))
            same = {"event": event["id"], "document": event["document"], "tenant": event["tenant"]}
            behind = rows[-1]["id"] if rows else ""
            facts = {"part": part, "behind": behind, "ids": piece, "sink": self.sink, "lock": self.lock}
            rows.append({"id": name, **same, **facts, **own, **losses, "passed": bool(passed)})
        return rows

    def written(self, event: str, pieces: Sequence[Sequence[int]]) -> tuple[list[Page], list[dict[str, Any]]]:
        """Of each piece of an event the whole page, and the columns of the one that is stored."""
        pages, columns = list[Page](), list[dict[str, Any]]()
        for piece in pieces:
            reading = self.reader.read(piece, [self.before, *pages], queries=self.settings.select == MEMORY3)
            page = reading.page
            rows = self.shrink.rows(page.tokens, page.sizes)
            scores = None
            if rows < page.tokens:
                scores = self._scores(event, piece, reading, pages)
                if self.settings.select != KVZIP:
                    scores = with_ends(scores, rows)
            columns.append(shrunk(page, rows, scores, self.shrink))
            pages.append(page)
        return pages, columns

    def _scores(self, event: str, ids: Sequence[int], reading: Any, earlier: Sequence[Page]) -> Floats32:
        select, page = self.settings.select, reading.page
        if select == MEMORY3:
            return received(self.reader.model, reading)
        if select == KVZIP:
            return repeated(self.reader, ids, page, [self.before, *earlier], self._request)
        shape = (page.keys.shape[0], page.keys.shape[1], page.tokens)
        return drawn(hash_parts("page rows", event, len(earlier)), shape) if select == RANDOM else latest(shape)

    def _losses(
        self,
        event: str,
        ids: Sequence[int],
        following: Sequence[int],
        pages: Sequence[Page],
        columns: Sequence[Mapping[str, Any]],
    ) -> dict[str, float]:
        """Nats a token of what follows, behind nothing, the text and the stored pages."""
        next_ids = list(following[:SCORED])
        if len(next_ids) < 2:
            cut = len(ids) - max(1, len(ids) // 4) - 1
            next_ids = list(ids[cut:][: SCORED + 1])
            pages, columns = self.written(event, self.pieces(ids[:cut])) if cut else ([], [])
        stored = [page_of({"id": event, **own}) for own in columns]
        behind = {"loss_none": [], "loss_text": pages, "loss_page": stored}
        return {
            name: float(np.float32(self.reader.losses(next_ids, [self.before, *own]).mean()))
            for name, own in behind.items()
        }
