"""The budget of a search, and its chosen rows as hits with their reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemic.dataset.index import read_rows, read_wide, rows_of_ids
from mnemic.errors import QueryError
from mnemic.metadata import metadata_fields
from mnemic.search.buffers import FITS
from mnemic.search.hybrid import Ranked, workers
from mnemic.search.results import Hit, Results, day_line
from mnemic.search.spoken import dated_sizes, spoken
from mnemic.view import View
from mnemic.words import count_words

if TYPE_CHECKING:
    from mnemic.encoder import TextEncoder

_SHOWN = ("id", "document", "start", "end", "speakers", "text", "words")
_FACTS = ("id", "document", "start", "end", "words", "level", "start_time", "end_time", "speakers")
_TEXTS = ("text", "turns")
"""Columns of an event in a hit."""
TEXTS_PATIENCE = 8
"""Searches of a small bank that read the texts of their hits alone; reading all costs as much, so then all are held."""
_DOCUMENT = ("source", "collection", "tenant", "session")
_SIGNALS = {
    "similarity": "meaning",
    "bm25": "words",
    "event_bm25": "words of its event",
    "document_bm25": "words of its document",
    "part_similarity": "meaning of its best part",
    "title_bm25": "words of its title",
}

WORDS_A_ROW = 5
FEWEST, MOST = 100, 400
"""Rows that each signal is asked for, at least, and at most but for a large ``k``."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much may be taken: ``words`` or ``tokens`` in all (of ``tokenizer``), at most ``k`` events.

    ``contiguity`` is the share for neighbours, ``fit`` what happens to the first that does not fit (`buffers.take`).
    With ``dated`` the days that texts speak of are counted too.
    """

    words: int | None
    tokens: int | None
    k: int | None
    contiguity: float
    fit: str
    tokenizer: Any = None
    dated: bool = False

    def __post_init__(self) -> None:
        for name in ("words", "tokens", "k"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise QueryError(f"A search with {name}={limit} has nothing to give; set {name} to at least 1.")
        if not 0 <= self.contiguity < 1:
            raise QueryError(
                f"A share of {self.contiguity} for neighbours cannot be; set contiguity from 0 to below 1."
            )
        if self.fit not in FITS:
            raise QueryError(f"There is no fit {self.fit!r}; choose one of {', '.join(FITS)}.")

    @property
    def pool(self) -> int:
        """Rows that each signal gives: a fifth of the budget, which is more rows than fit, and twice ``k``."""
        fitting = (self.tokens or self.words or 0) // WORDS_A_ROW
        return max(FEWEST, min(MOST, fitting), 2 * (self.k or 0))


def sizes_of(view: View, facts: pa.Table, count: Callable[[str], int] | None, dated: bool = False) -> list[int]:
    """How much of a budget each row of ``facts`` takes: tokens by ``count``, or words where that is None.

    With ``dated`` it takes the days that it speaks of as well.
    """
    if dated:
        return dated_sizes(view, facts, count or count_words)
    if count is None:
        return facts["words"].to_pylist()  # type: ignore[no-any-return]
    texts = view.dataset("events").take_rows(facts["_rowid"].to_numpy(), ["text"])["text"]
    return [count(text) for text in texts.to_pylist()]


def sizes_with_waiting(
    view: View, ranked: Ranked, count: Callable[[str], int] | None, dated: bool = False
) -> list[int]:
    """`sizes_of` the rows of ``ranked``, among which some may stand in no dataset."""
    if not ranked.waiting:
        return sizes_of(view, ranked.facts, count, dated)
    others = [place for place in range(len(ranked.facts)) if place not in ranked.waiting]
    sizes = dict(
        zip(others, sizes_of(view, ranked.facts.take(pa.array(others, pa.int64())), count, dated), strict=True)
    )
    measure = count or count_words
    for place, hit in ranked.waiting.items():
        day = measure(day_line(hit.time)) if dated and hit.time else 0
        sizes[place] = day + measure(hit.dated if dated else hit.text)
    return [sizes[place] for place in range(len(ranked.facts))]


def token_counter(tokenizer: Any, encoder: Callable[[], TextEncoder]) -> Callable[[str], int]:
    """Tokens of a text by ``tokenizer`` (one of transformers, or a function); where it is None, by the encoder's."""
    if callable(getattr(tokenizer, "encode", None)):
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
    return tokenizer or encoder().count_tokens  # type: ignore[no-any-return]


def hits_of(view: View, ranked: Ranked, chosen: Mapping[int, int | None]) -> list[Hit]:
    """The rows at the places ``chosen`` of ``ranked``, best first, with their texts and documents.

    The value of a place is the place of the hit whose neighbour it is, None for a hit of its own.
    """
    if ranked.waiting:
        stored = {place: beside for place, beside in chosen.items() if place not in ranked.waiting}
        own = {place: ranked.waiting[place] for place in chosen if place in ranked.waiting}
        there = dict(zip(sorted(stored), _stored_hits(view, ranked, stored), strict=True)) if stored else {}
        return [hit for _, hit in sorted({**there, **own}.items())]
    return _stored_hits(view, ranked, chosen)


def _stored_hits(view: View, ranked: Ranked, chosen: Mapping[int, int | None]) -> list[Hit]:
    events, documents = view.dataset("events"), view.dataset("documents")
    ids = ranked.facts["id"].to_pylist()
    places = sorted(chosen)
    numbers = ranked.facts["_rowid"].to_numpy()[places]
    light, heavy = ([name for name in names if name in events.schema.names] for names in (_FACTS, _TEXTS))
    texts = workers().submit(read_wide, events, numbers, heavy, TEXTS_PATIENCE)
    facts = read_rows(events, numbers, light).to_pylist()
    owners, _ = rows_of_ids(documents, "id", sorted({row["document"] for row in facts}))
    own = [field.name for field in metadata_fields(documents.schema)]
    by_id = {row["id"]: row for row in read_rows(documents, owners, ["id", "locator", *_DOCUMENT, *own]).to_pylist()}
    rows = [fact | more for fact, more in zip(facts, texts.result().to_pylist(), strict=True)]
    hits = []
    for place, row, parts in zip(places, rows, spoken(view, rows), strict=True):
        document = by_id[row["document"]]
        scores: dict[str, Any] = dict.fromkeys(_SIGNALS)
        scores |= {name: _number(values[place]) for name, values in ranked.signals.items()}
        hits.append(
            Hit(
                **{name: document[name] for name in _DOCUMENT} | {name: row[name] for name in _SHOWN},
                level=row.get("level", "event"),
                turns=row.get("turns", []),
                locator=document["locator"],
                time=row["start_time"],
                score=float(ranked.scores[place]),
                **scores,
                reason=_reason(ranked, place, chosen[place], ids),
                metadata={name: document[name] for name in own if document[name] is not None},
                spoken=parts,
            )
        )
    return hits


def without_worst(results: Results, budget: Budget, count: Callable[[str], int] | None) -> Results:
    """The results without their worst, as long as their dated texts take more than the budget; one at least.

    The line of a session's day is counted for its best row, and another one of it may be taken in its place.
    """
    limit = budget.tokens or budget.words
    while limit is not None and len(results) > 1 and sum(map(count or count_words, results.dated)) > limit:
        worst = min(results, key=lambda hit: (hit.score, hit.id))
        results = Results([hit for hit in results if hit is not worst], results.scanned, results.notes)
    return results


def _reason(ranked: Ranked, place: int, beside: int | None, ids: Sequence[str]) -> str:
    """Why a row was taken, as a phrase."""
    parts = [
        f"{phrase}: rank {int(ranked.places[name][place])}"
        for name, phrase in _SIGNALS.items()
        if name in ranked.places and np.isfinite(ranked.places[name][place])
    ]
    if beside is not None:
        parts.insert(0, f"next to {ids[beside][:12]}")
    elif place not in ranked.links and not any(
        np.isfinite(ranked.places[name][place]) for name in ("similarity", "bm25") if name in ranked.places
    ):
        best = ranked.neighbours[place][0] if ranked.neighbours[place] else None
        parts.insert(0, f"beside {ids[best][:12]}" if best is not None else "beside a better one")
    if place in ranked.links:
        parts.insert(0, ranked.links[place])
    return ", ".join(parts)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
