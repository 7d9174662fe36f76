"""Sessions and events by their summaries: few words of each in place of the whole, with the rows that they are made of.

A session of a chat has thousands of words, so a budget holds one or two of them whole, and a dozen by their summaries.
Rows are ranked as ever, by all that they say; the short text takes the place of the text when the budget is filled. It
is the summary that a language model wrote, where there is one of most of the session, else the excerpt: leaves of it,
word for word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mnemic.dataset.index import read_rows
from mnemic.errors import QueryError
from mnemic.notes.datasets import EXCERPTS_SPEC, SUMMARIES_SPEC
from mnemic.quoting import parts_of
from mnemic.search.hybrid import Ranked
from mnemic.search.results import Hit
from mnemic.view import View
from mnemic.words import count_words

LEVELS = ("session", "event")
"""Levels whose rows have short texts."""

COVERED = 0.8
"""Share of a session's characters that its summaries must be of, or its excerpt is taken."""


@dataclass(frozen=True)
class ShortText:
    """``text``, made of the rows of `events` with the ids ``sources``; ``writer`` is "" for an excerpt."""

    text: str
    sources: tuple[str, ...]
    writer: str = ""


def check_short(view: View, level: str | None) -> None:
    """Raise `QueryError` where rows of ``level`` have no short texts in this release."""
    if level not in LEVELS:
        raise QueryError(
            f"Short texts are of sessions, events and nodes, and this search is for {level or 'the smallest rows'}. "
            'Set level="session", level="event" or level="node", or leave out `short`.'
        )
    if EXCERPTS_SPEC.name not in view and (level == "event" or SUMMARIES_SPEC.name not in view):
        raise QueryError(
            f"Release {view.release.name} of {view.path} has no short texts of its {level}s. Add `excerpts: {{}}` to "
            "its recipe, or `summaries: true` to its `written`, and build again; or leave out `short`."
        )


def short_texts(view: View, ranked: Ranked, level: str) -> dict[str, ShortText]:
    """The short texts of the rows of ``ranked``, by their ids; rows without one are not in it.

    Rows that wait for the next build have none.
    """
    stored = [place for place in range(len(ranked.facts)) if place not in ranked.waiting]
    numbers = ranked.facts["_rowid"].to_numpy()[stored]
    rows = read_rows(view.dataset("events"), numbers, ["id", "document", "start", "end"]).to_pylist()
    texts: dict[str, ShortText] = {}
    if EXCERPTS_SPEC.name in view:
        for row in _where(view, EXCERPTS_SPEC.name, ["node", "text", "sources"], "node", [row["id"] for row in rows]):
            texts[row["node"]] = ShortText(row["text"], tuple(source["event"] for source in row["sources"]))
    if level == "session" and SUMMARIES_SPEC.name in view:
        texts |= _summaries(view, rows)
    return texts


def _summaries(view: View, rows: Sequence[Mapping[str, Any]]) -> dict[str, ShortText]:
    """Id of a session -> its summary, of all parts in order."""
    columns = ["document", "start", "end", "text", "sources", "writer"]
    parts: dict[str, list[dict[str, Any]]] = {}
    for part in _where(view, SUMMARIES_SPEC.name, columns, "document", sorted({row["document"] for row in rows})):
        parts.setdefault(part["document"], []).append(part)
    texts = {}
    for row in rows:
        own = sorted(parts.get(row["document"], ()), key=lambda part: (part["start"], part["end"], part["text"]))
        if sum(part["end"] - part["start"] for part in own) >= COVERED * (row["end"] - row["start"]) and own:
            sources = dict.fromkeys(source["event"] for part in own for source in part["sources"])
            texts[row["id"]] = ShortText("\n".join(part["text"] for part in own), tuple(sources), own[0]["writer"])
    return texts


def _where(view: View, dataset: str, columns: list[str], key: str, values: Sequence[str]) -> list[dict[str, Any]]:
    return [row for condition in parts_of(key, values) for row in view.table(dataset, columns, condition).to_pylist()]


def short_sizes(
    ranked: Ranked, sizes: Sequence[int], texts: Mapping[str, ShortText], count: Callable[[str], int] | None
) -> list[int]:
    """``sizes`` of the rows of ``ranked``, in the unit of ``count`` (None: words), where ``texts`` stand for rows."""
    ids = ranked.facts["id"].to_pylist()
    return [
        (count or count_words)(texts[identity].text) if identity in texts else size
        for identity, size in zip(ids, sizes, strict=True)
    ]


def shortened(hit: Hit, texts: Mapping[str, ShortText]) -> Hit:
    """``hit`` with its short text. Its times are resolved only where all of it was said on one day."""
    short = texts.get(hit.id)
    if short is None:
        return hit
    days = {time.date() for _, time in hit.spoken}
    spoken = ((0, hit.spoken[0][1]),) if len(days) == 1 else ()
    made_of = f"{f'summary by {short.writer}' if short.writer else 'excerpt'} of {len(short.sources)} rows"
    return replace(
        hit,
        text=short.text,
        words=count_words(short.text),
        reason=f"{made_of}, {hit.reason}",
        spoken=spoken,
        sources=short.sources,
        writer=short.writer,
    )
