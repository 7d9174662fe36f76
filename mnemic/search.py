"""Search: two signals, one ranking, a budget of words.

Dense similarity and BM25 see different things (names and dates are lexical, paraphrases are not); reciprocal rank
fusion joins the two lists without scaling their scores (Cormack et al. 2009, k = 60). Events are then taken best first
as long as they fit the budget: recall at k over events of different length would mean nothing, recall under a budget
does. The result is in reading order, because that is how it will be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mnemic.words import first_words

RANK_CONSTANT = 60
POOL = 200
"""Candidates taken from each signal before fusion."""


@dataclass(frozen=True)
class Found:
    """An event that answers a query, with the reasons it was found."""

    id: str
    document: str
    source: str
    locator: str
    collection: str
    level: str
    start: int  # first character in the document
    time: datetime | None
    text: str
    words: int
    score: float  # fused
    similarity: float | None  # cosine; None when it is not among the nearest
    bm25: float | None  # None when it shares no word with the query
    reason: str


def fuse(rankings: Iterable[Sequence[str]]) -> dict[str, float]:
    """Reciprocal rank fusion: id -> sum over rankings of 1 / (60 + rank), rank from 1."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return scores


def best_first(scores: Mapping[str, float]) -> list[str]:
    """Ids by descending score; equal scores in order of the id."""
    return sorted(scores, key=lambda item: (-scores[item], item))


def within_budget(found: Sequence[Found], words: int | None, k: int | None) -> list[Found]:
    """Best first, every event that still fits. The best one is always there, cut to the budget if it is longer."""
    taken: list[Found] = []
    used = 0
    for event in found:
        if k is not None and len(taken) >= k:
            break
        fits = event if words is None or taken else _cut(event, words)
        if words is None or used + fits.words <= words:
            taken.append(fits)
            used += fits.words
    return taken


def _cut(event: Found, words: int) -> Found:
    if event.words <= words:
        return event
    return replace(
        event, text=first_words(event.text, words), words=words, reason=f"{event.reason}; cut to {words} words"
    )


def reading_order(found: Sequence[Found]) -> list[Found]:
    """Documents by their best event, the events of one document in its order."""
    best: dict[str, float] = {}
    for event in found:
        best[event.document] = max(best.get(event.document, 0.0), event.score)
    return sorted(found, key=lambda event: (-best[event.document], event.document, event.start))


def explain(dense_rank: int | None, text_rank: int | None) -> str:
    """Why an event was found, as a phrase."""
    parts = []
    if dense_rank is not None:
        parts.append(f"meaning: rank {dense_rank}")
    if text_rank is not None:
        parts.append(f"words: rank {text_rank}")
    return ", ".join(parts)
