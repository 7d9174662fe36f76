"""From a question to what a bank holds about it, within a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemic.dataset.index import built, read_rows, rows_of_ids
from mnemic.errors import QueryError
from mnemic.schema import LEVELS
from mnemic.search.buffers import FITS, cut, reading_order, take
from mnemic.search.condition import Where, condition, of_documents, readable_condition, within_documents
from mnemic.search.hybrid import EVENTS_HEARD, Ranked, rank_events, workers
from mnemic.search.results import Hit, Results

if TYPE_CHECKING:
    from mnemic.bank import Bank

_TOLD = ("id", "document", "start", "end", "speakers", "text", "words")
_HELD = ("id", "document", "start", "end", "words", "level", "start_time", "speakers")
_READ = ("text", "turns")
"""What is told of an event: columns that may be held in memory, and those that are read for the rows found."""
_DOCUMENT = ("source", "collection", "tenant", "session")
_SIGNALS = {
    "similarity": "meaning",
    "bm25": "words",
    "event_bm25": "words of its event",
    "document_bm25": "words of its document",
}

WORDS_A_ROW = 5
FEWEST, MOST = 100, 400
"""Rows that each signal is asked for, at least, and at most but for a large ``k``."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much may be taken: ``words`` or ``tokens`` in all (of ``tokenizer``), at most ``k`` events.

    ``contiguity`` is the share for neighbours, ``fit`` what happens to the first that does not fit (`buffers.take`).
    """

    words: int | None
    tokens: int | None
    k: int | None
    contiguity: float
    fit: str
    tokenizer: Any = None

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


def search(
    bank: Bank,
    query: str,
    budget: Budget,
    *,
    where: Where = None,
    level: str | None = None,
    route: int | None = None,
    vector: np.ndarray[Any, Any] | None = None,
) -> Results:
    """See `mnemic.bank.Bank.search`."""
    if not query.strip():
        raise QueryError("The query is empty. Ask for something, as in bank.search('how do I tag a version?').")
    query = query.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no meaning to search for
    events = bank.dataset("events")
    names = events.schema.names
    allowed = condition(where, names)
    if level is not None and level not in LEVELS:
        raise QueryError(f"There is no level {level!r} of events; choose one of {', '.join(LEVELS)}.")
    looked = bank.encoder.encode_queries([query])[0] if vector is None else np.asarray(vector, np.float32)
    documents = bank.dataset("documents") if level != "session" and "text" in built(bank.dataset("documents")) else None
    heard = level not in ("session", "event") and "leaf" in names and events.count() <= EVENTS_HEARD
    routed = None if route is None else bank.tree.route(looked, route)
    budget = budget if budget.words or budget.tokens or budget.k else dataclasses.replace(budget, k=10)
    with readable_condition(allowed, events, "events"):
        ranked = rank_events(
            events,
            query,
            looked,
            allowed,
            level,
            documents,
            of_documents(where),
            events_heard=heard,
            varying=within_documents(where) is not None,
            near=routed.condition if routed else None,
            pool=budget.pool,
        )
    sizes = _sizes(bank, ranked.facts, budget)
    taken = take(sizes, ranked.neighbours, budget.tokens or budget.words, budget.k, budget.contiguity, budget.fit)
    found = _found(bank, ranked, taken)
    if budget.words is not None and len(found) == 1 and budget.fit == "within":
        found = [cut(found[0], budget.words)]
    return Results(reading_order(found), bank.probed if routed is None else routed.share)


def _sizes(bank: Bank, facts: pa.Table, budget: Budget) -> list[int]:
    """What each row takes of the budget."""
    if budget.tokens is None:
        return facts["words"].to_pylist()  # type: ignore[no-any-return]
    count = _token_counter(bank, budget.tokenizer)
    texts = bank.dataset("events").take_rows(facts["_rowid"].to_numpy(), ["text"])["text"]
    return [count(text) for text in texts.to_pylist()]


def _token_counter(bank: Bank, tokenizer: Any) -> Callable[[str], int]:
    """Tokens of a text by ``tokenizer`` (one of transformers, or a function), or by that of the bank's encoder."""
    if callable(getattr(tokenizer, "encode", None)):
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
    return tokenizer or bank.encoder.count_tokens  # type: ignore[no-any-return]


def _found(bank: Bank, ranked: Ranked, taken: dict[int, int | None]) -> list[Hit]:
    """The rows taken, best first, with all that is known of them."""
    events, documents = bank.dataset("events"), bank.dataset("documents")
    ids = ranked.facts["id"].to_pylist()
    places = sorted(taken)
    numbers = ranked.facts["_rowid"].to_numpy()[places]
    held, read = ([name for name in names if name in events.schema.names] for names in (_HELD, _READ))
    texts = workers().submit(events.take_rows, numbers, read)
    facts = read_rows(events, numbers, held).to_pylist()
    owners, _ = rows_of_ids(documents, "id", sorted({row["document"] for row in facts}))
    known = {row["id"]: row for row in read_rows(documents, owners, ["id", "locator", *_DOCUMENT]).to_pylist()}
    rows = [fact | more for fact, more in zip(facts, texts.result().to_pylist(), strict=True)]
    found = []
    for place, row in zip(places, rows, strict=True):
        of_document = known[row["document"]]
        scores: dict[str, Any] = dict.fromkeys(_SIGNALS)
        scores |= {name: _number(values[place]) for name, values in ranked.signals.items()}
        found.append(
            Hit(
                **{name: of_document[name] for name in _DOCUMENT} | {name: row[name] for name in _TOLD},
                level=row.get("level", "event"),
                turns=row.get("turns", []),
                locator=of_document["locator"],
                time=row["start_time"],
                score=float(ranked.scores[place]),
                **scores,
                reason=_reason(ranked, place, taken[place], ids),
            )
        )
    return found


def _reason(ranked: Ranked, place: int, beside: int | None, ids: Sequence[str]) -> str:
    """Why a row was taken, as a phrase."""
    parts = [
        f"{phrase}: rank {int(ranked.places[name][place])}"
        for name, phrase in _SIGNALS.items()
        if name in ranked.places and np.isfinite(ranked.places[name][place])
    ]
    if beside is not None:
        parts.insert(0, f"next to {ids[beside][:12]}")
    elif not any(np.isfinite(ranked.places[name][place]) for name in ("similarity", "bm25") if name in ranked.places):
        best = ranked.neighbours[place][0] if ranked.neighbours[place] else None
        parts.insert(0, f"beside {ids[best][:12]}" if best is not None else "beside a better one")
    return ", ".join(parts)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
