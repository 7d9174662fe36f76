"""Search over one release: several signals at once, fused, and filled into a budget.

Four queries run at the same time: the vectors and the words (BM25) of the rows of the searched level, the words of
their documents (a session of a conversation is one), and, in banks of up to `EVENTS_HEARD` rows, the words of their
events. The rankings are fused (`mnemic.search.fusion`), and the budget is filled from them (`mnemic.search.buffers`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Floats, Floats32, Integers
from mnemic.conditions import all_of
from mnemic.dataset import Snapshot
from mnemic.dataset.index import held_conditions, read_rows, rows_of_ids, search_text, search_text_under, search_vector
from mnemic.links.follow import Links
from mnemic.quoting import one_of
from mnemic.schema import UNSAID
from mnemic.search.condition import of_level
from mnemic.search.fusion import DENSE_SHARE, TEXT_SHARE, fuse, ranks, with_neighbours
from mnemic.search.linking import follow
from mnemic.search.noting import NOTED, NOTED_BESIDE_WALK, RankedNotes, raise_sources
from mnemic.search.results import Hit
from mnemic.search.walk import walked

POOL = 200
"""Rows taken from each signal before fusion, unless a search says how many."""
HEARD = 50
"""Of them, those whose neighbours are looked at."""
OWN = ("similarity", "bm25")
"""Signals of the rows themselves, which their neighbours have a share of."""
EVENTS_HEARD = 100_000
"""Rows of `events` up to which the words of events speak for the rows inside them.

They give less than a point of recall, and at a million rows cost a third of a search's processor time: a condition on
the level is met by few rows of the index, so that little can be skipped. Documents have an index of their own.
"""

FACTS = ("id", "document", "first_unit", "end_unit", "words", "previous", "next")
GIVEN = ["id", "words", "_rowid"]


class AwaitedRows(Protocol):
    """Rows that another thread looks up."""

    def result(self) -> pa.Table: ...


@dataclass(frozen=True)
class _OneCondition:
    """The ``answer`` under the condition ``where``."""

    answer: Future[dict[str, pa.Table]]
    where: str

    def result(self) -> pa.Table:
        return self.answer.result()[self.where]


@dataclass(frozen=True)
class Ranked:
    """Rows from best to worst, and why.

    ``facts`` are id, words and `_rowid`; ``neighbours`` of each row are places in the ranking, next before previous;
    ``scores`` are the fused ones. ``signals`` has for each signal (similarity, bm25, event_bm25, document_bm25) the
    score that a row was given itself, NaN where it has none, and ``places`` its rank there, infinite for none.
    ``links`` has for each row that links or notes lead to why, as a phrase. ``waiting`` are rows that stand in no
    dataset, at their places: what was remembered since the release.
    """

    facts: pa.Table
    neighbours: list[list[int]]
    scores: Floats
    signals: dict[str, Floats]
    places: dict[str, Floats]
    links: dict[int, str] = field(default_factory=dict)
    waiting: dict[int, Hit] = field(default_factory=dict)


def rank_events(
    events: Snapshot,
    query: str,
    vector: Callable[[], Floats32],
    where: str | None,
    level: str | None,
    documents: Snapshot | None,
    within: str | None,
    *,
    events_heard: bool = False,
    varying: bool = True,
    near: str | None = None,
    pool: int = POOL,
    titles: bool = False,
    links: Links | None = None,
    notes: Callable[[], RankedNotes] | None = None,
) -> Ranked:
    """Rank the rows of ``level`` (None: the leaves) that satisfy ``where`` for ``query`` and its ``vector`` [d].

    ``vector`` gives float32, and is asked when words are being looked up already: encoding a question takes longer.
    The words of ``documents`` that satisfy ``within`` are heard as well (None: of none), and with ``events_heard``
    those of events, with ``titles`` those of the titles of documents. ``varying`` says that ``where`` may hold for one
    row of a document and not for another. With ``near`` only the vectors of rows that satisfy that too are compared.
    Each signal gives its ``pool`` best. Rows that ``links`` lead to, and those of ``notes`` (asked for as late as can
    be, since they are ranked meanwhile), are ranked with them. Where notes rank the smallest rows, a walk over their
    words does so too.
    """
    rows = of_level(level, where, events.schema.names)
    names = [name for name in FACTS if name in events.schema.names]
    conditions = {"bm25": rows}
    if events_heard:
        conditions["event_bm25"] = all_of(where, "level = 'event'")
    questions = _ask_words(events, "text", (), query, pool, conditions)
    if documents is not None:
        questions |= _ask_words(documents, "text", "id", query, pool, {"document_bm25": within})
        if titles:
            questions |= _ask_words(documents, UNSAID, "id", query, pool, {"title_bm25": within})
    sought = vector()
    near_rows = search_vector(events, "vector", (), sought, pool, all_of(rows, near))
    answers = {"similarity": near_rows, **{name: one.result() for name, one in questions.items()}}

    hits: dict[str, pa.Table] = {name: answers.pop(name) for name in OWN}
    of_documents = answers.pop("document_bm25", None)
    if titles and of_documents is not None:
        of_documents = _summed(of_documents, answers.pop("title_bm25"))
    every = [*hits.values(), *answers.values()]
    numbers = np.unique(np.concatenate([table["_rowid"].to_numpy() for table in every]))
    read = read_rows(events, numbers, names).append_column("_rowid", pa.array(numbers))
    facts = _with_neighbours(events, read, hits, level, rows if varying else None)
    place = {identity: number for number, identity in enumerate(facts["id"].to_pylist())}
    signals: dict[str, Floats] = {name: _scores_of(table, facts) for name, table in hits.items()}
    for name, table in answers.items():
        ranges = read.take(pa.array(np.searchsorted(numbers, table["_rowid"].to_numpy())))
        signals[name] = _scores_of_holders(ranges.append_column("_score", table["_score"]), facts)
    if of_documents is not None:
        at = pc.index_in(facts["document"], value_set=of_documents["id"].combine_chunks())
        signals["document_bm25"] = of_documents["_score"].take(at.combine_chunks()).to_numpy().astype(np.float64)
    pairs = pairs_of(facts, place)
    shares = {"similarity": DENSE_SHARE, "bm25": TEXT_SHARE}
    raised = {
        name: with_neighbours(scores, pairs, shares[name]) if name in shares else scores
        for name, scores in signals.items()
    }
    own = {name: ranks(scores) for name, scores in signals.items()}
    fused = fuse([own[name] if scores is signals[name] else ranks(scores) for name, scores in raised.items()])
    why, before = dict[str, str](), len(facts)
    if notes is not None:
        walk = walked(events, facts, fused, rows) if level is None else None
        weight = NOTED if walk is None else NOTED_BESIDE_WALK
        facts, fused, why = raise_sources(events, notes(), facts, fused, rows, weight)
        if walk is not None:
            fused, why = walk.raised(facts, fused, why)
    if links is not None and len(fused):
        facts, fused, linked = follow(events, links, query, sought, facts, fused, rows)
        why |= {row: f"{reason}, {why[row]}" if row in why else reason for row, reason in linked.items()}
    if more := len(facts) - before:
        signals = {name: np.append(scores, np.full(more, np.nan)) for name, scores in signals.items()}
        own = {name: np.append(places, np.full(more, np.inf)) for name, places in own.items()}
    order = np.lexsort((facts["id"].to_numpy(), -fused))
    order = order[fused[order] > 0]
    new_place = {old: new for new, old in enumerate(order.tolist())}
    beside: dict[int, list[int]] = {}
    for row, neighbour in pairs.tolist():
        if row in new_place and neighbour in new_place:
            beside.setdefault(new_place[row], []).append(new_place[neighbour])
    ids = facts["id"].to_pylist() if why else []
    return Ranked(
        facts.select(GIVEN).take(pa.array(order)),
        [beside.get(row, []) for row in range(len(order))],
        fused[order],
        {name: scores[order] for name, scores in signals.items()},
        {name: places[order] for name, places in own.items()},
        {new: why[ids[old]] for old, new in new_place.items() if why and ids[old] in why},
    )


def _ask_words(
    rows: Snapshot, column: str, key: str | Sequence[str], query: str, pool: int, conditions: Mapping[str, str | None]
) -> dict[str, AwaitedRows]:
    """The ``rows`` with most words of ``query`` in ``column`` under each of the ``conditions``, by name."""
    stated = [where for where in conditions.values() if where is not None]
    together = held_conditions(rows, stated) if len(stated) == len(conditions) else None
    if together is None:
        return {
            name: workers().submit(search_text, rows, column, key, query, pool, where)
            for name, where in conditions.items()
        }
    answer = workers().submit(search_text_under, rows, column, key, query, pool, together)
    return {name: _OneCondition(answer, where) for name, where in conditions.items() if where is not None}


def workers() -> ThreadPoolExecutor:
    """Threads in which Lance is asked several things at the same time; a forked process has its own."""
    return _workers(os.getpid())


@functools.lru_cache(maxsize=1)
def _workers(process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, "mnemic-search")


def _with_neighbours(
    events: Snapshot, read: pa.Table, hits: dict[str, pa.Table], level: str | None, rows: str | None
) -> pa.Table:
    """The rows of ``hits``, each once, and those before and after the best ones.

    Neighbours are of the same document; they must be of the level too, and satisfy ``rows``, None where they do.
    """
    numbers = read["_rowid"].to_numpy()
    hit = np.unique(np.concatenate([table["_rowid"].to_numpy() for table in hits.values()]))
    best = np.unique(np.concatenate([table["_rowid"].to_numpy()[:HEARD] for table in hits.values()]))
    facts = read if len(hit) == len(numbers) else read.take(pa.array(np.searchsorted(numbers, hit)))
    loudest = read.select(["previous", "next"]).take(pa.array(np.searchsorted(numbers, best)))
    missing = {*loudest["previous"].to_pylist(), *loudest["next"].to_pylist()} - {"", *facts["id"].to_pylist()}
    if not missing:
        return facts
    names = [name for name in facts.schema.names if name != "_rowid"]
    if rows is None:
        numbers, there = rows_of_ids(events, "id", sorted(missing))
        numbers = numbers[there]
        at = [name for name in ("level", "leaf") if name in events.schema.names]
        near = read_rows(events, numbers, [*names, *at]).append_column("_rowid", pa.array(numbers))
        if at:
            near = near.filter(near["leaf"] if level is None else pc.equal(near["level"], level))
    else:
        near = pa.Table.from_batches(
            list(events.scan(names, all_of(rows, one_of("id", sorted(missing))), row_ids=True)), facts.schema
        )
    return pa.concat_tables([facts, near.select(facts.schema.names)])


def _scores_of(table: pa.Table, facts: pa.Table) -> Floats:
    """The scores that ``table`` gives to rows of ``facts``; NaN for the others."""
    rows = facts["_rowid"].to_numpy()
    order = np.argsort(rows)
    at = order[np.searchsorted(rows, table["_rowid"].to_numpy(), sorter=order)]
    scores = np.full(len(facts), np.nan)
    dense = "_distance" in table.schema.names
    scores[at] = 1.0 - table["_distance"].to_numpy() if dense else table["_score"].to_numpy()
    return scores


def _scores_of_holders(table: pa.Table, facts: pa.Table) -> Floats:
    """For each row the score of the range of ``table`` that holds it; NaN where none was found."""
    ranges: dict[str, list[tuple[int, int, float]]] = {}
    columns = [table[name].to_pylist() for name in ("document", "first_unit", "end_unit", "_score")]
    for document, first, end, score in zip(*columns, strict=True):
        ranges.setdefault(document, []).append((first, end, score))
    scores = np.full(len(facts), np.nan)
    rows = zip(*(facts[name].to_pylist() for name in ("document", "first_unit")), strict=True)
    for number, (document, unit) in enumerate(rows):
        holding = [score for first, end, score in ranges.get(document, ()) if first <= unit < end]
        if holding:
            scores[number] = max(holding)
    return scores


def _summed(texts: pa.Table, titles: pa.Table) -> pa.Table:
    """The scores of texts and of titles of documents, added: columns id and _score, each document once."""
    both = pa.concat_tables([texts.select(["id", "_score"]), titles.select(["id", "_score"])])
    return both.group_by("id", use_threads=False).aggregate([("_score", "sum")]).rename_columns(["id", "_score"])


def pairs_of(facts: pa.Table, place: dict[str, int]) -> Integers:
    """(row, neighbour) for all neighbours that are there, next before previous."""
    pairs = [
        (row, place[neighbour])
        for name in ("next", "previous")
        for row, neighbour in enumerate(facts[name].to_pylist())
        if neighbour in place
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)
