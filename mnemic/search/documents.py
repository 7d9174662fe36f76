"""Whole documents as results: sessions ranked by what they mean, by their best part, and by their words and titles.

Ranks forget by how much a score is ahead. Where a question names people, places and dates, one document has all these
words, and the rank of a vector that knows little of names outvotes it: of made chapters (`bench.written.chapters`)
reciprocal ranks find 38 % among three, the words alone 83. So the scores of each signal are scaled between that of the
last of its pool and that of the best, and added with a weight that says how far the best is ahead of most: a signal
whose best stands alone decides, and one in which many are alike says little. With weights that are always the same it
was 69 %, and 83 % with these; MuSiQue-100 has 63.1 % at 5 in place of 61.8, HotpotQA-100 82.5 in place of 82.0, and
LoCoMo's sessions 78.0 at 3 in place of 76.3 (LOG.md).

The signal of meaning is the mean of two cosines, those of the whole and of its best part, since the mean of a long
document's vectors is about everything and near to nothing. A part that is most of its document says the same twice, so
a part counts only up to `PART_SHARE` of it. The signal of words is the sum of two BM25 scores, those of
the text and of the title.

Banks without `context` are searched as before (`mnemic.search.hybrid`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Floats, Floats32
from mnemic.conditions import all_of
from mnemic.dataset import Snapshot
from mnemic.dataset.index import read_rows, rows_with, search_text, search_vector, vectors_of
from mnemic.links.follow import Links
from mnemic.links.hops import BRIDGE, HOP, NAMED, WALK, Link
from mnemic.schema import UNSAID
from mnemic.search.condition import of_level
from mnemic.search.fusion import certainty, ranks, scaled
from mnemic.search.hybrid import FACTS, GIVEN, POOL, Ranked, pairs_of, workers
from mnemic.search.linking import Way, raised, reasons_of, sources, unit_vector

LEVEL = "session"

WORDS = 0.7
"""Weight of the words against the meaning where both say as much as they can: at 1 MuSiQue-100 fell from 61.3 to 56.9 %
at 5, HotpotQA-100 by 0.5."""

PART_SHARE = 1 / 3
"""Units of a part, as a share of its document's, up to which it counts beside the whole. Shares of 1/2 and 3/4 cost a
point of HotpotQA-100's even questions at 5."""


def rank_documents(
    events: Snapshot,
    query: str,
    vector: Callable[[], Floats32],
    where: str | None,
    documents: Snapshot | None,
    within: str | None,
    *,
    near: str | None = None,
    pool: int = POOL,
    links: Links | None = None,
) -> Ranked:
    """Rank the sessions that satisfy ``where`` for ``query`` and its ``vector``, float32 [d].

    ``vector`` is asked for when the words are being looked up already.
    The titles of ``documents`` that satisfy ``within`` are heard as well (None: of none). With ``near`` only vectors
    of rows that satisfy that too are compared. Each signal gives its ``pool`` best, `POOL` at least, so that scores are
    the same under any budget; each session that one of them gives is scored by all: meaning exactly, from its vector
    and from the parts in the pool. Documents that ``links`` lead to are ranked with them.
    """
    pool = max(pool, POOL)
    rows, parts = (of_level(level, where, events.schema.names) for level in (LEVEL, None))
    queries: dict[str, Callable[[], pa.Table]] = {
        "bm25": functools.partial(search_text, events, "text", (), query, pool, rows)
    }
    if documents is not None:
        queries["titles"] = functools.partial(search_text, documents, UNSAID, "id", query, pool, within)
    questions = {name: workers().submit(ask) for name, ask in queries.items()}
    sought = vector()
    questions["parts"] = workers().submit(search_vector, events, "vector", (), sought, pool, all_of(parts, near))
    answers = {"similarity": search_vector(events, "vector", (), sought, pool, all_of(rows, near))}
    answers |= {name: one.result() for name, one in questions.items()}
    best_parts = read_rows(events, answers["parts"]["_rowid"].to_numpy(), ["document", "first_unit", "end_unit"])
    best_parts = best_parts.append_column("cosine", pc.subtract(1.0, answers["parts"]["_distance"].cast(pa.float64())))
    titles: dict[str, float] = {}
    if "titles" in answers:
        titles = dict(zip(*(answers["titles"][name].to_pylist() for name in ("id", "_score")), strict=True))
    facts = _sessions(events, answers, {*best_parts["document"].to_pylist(), *titles}, rows)
    named = links.named(query, facts["document"].to_pylist()) if links is not None else {}
    facts = _with_others(events, facts, named, rows)
    signals = {
        "similarity": _cosines(events, facts, sought),
        "part_similarity": _best_parts(facts, best_parts),
        "bm25": _scores(facts, answers["bm25"]),
        "title_bm25": np.array([titles.get(one, np.nan) for one in facts["document"].to_pylist()], np.float64),
    }
    meaning = np.fmax(signals["similarity"], signals["part_similarity"]) + signals["similarity"]
    words = np.nan_to_num(signals["bm25"]) + np.nan_to_num(signals["title_bm25"])
    fused = certainty(meaning, pool) * scaled(meaning, pool) + WORDS * certainty(words, pool) * scaled(words, pool)
    reasons: dict[str, str] = {}
    if links is not None and len(fused):
        facts, signals, fused, reasons = _follow(
            events, links, query, sought, facts, signals, fused, named, best_parts, rows
        )
    order = np.lexsort((facts["id"].to_numpy(), -fused))
    place = {identity: number for number, identity in enumerate(facts["id"].take(pa.array(order)).to_pylist())}
    ordered = facts.take(pa.array(order))
    beside: dict[int, list[int]] = {}
    for row, neighbour in pairs_of(ordered, place).tolist():
        beside.setdefault(row, []).append(neighbour)
    return Ranked(
        ordered.select(GIVEN),
        [beside.get(row, []) for row in range(len(order))],
        fused[order],
        {name: scores[order] for name, scores in signals.items()},
        {name: ranks(scores)[order] for name, scores in signals.items()},
        {row: reasons[one] for row, one in enumerate(ordered["document"].to_pylist()) if one in reasons},
    )


def _follow(
    events: Snapshot,
    links: Links,
    query: str,
    vector: npt.NDArray[np.float32],
    facts: pa.Table,
    signals: dict[str, Floats],
    fused: Floats,
    named: Mapping[str, Link],
    parts: pa.Table,
    rows: str | None,
) -> tuple[pa.Table, dict[str, Floats], Floats, dict[str, str]]:
    """``facts``, ``signals`` and ``fused`` scores with the sessions that links lead to, and reasons by document."""

    def add(documents: Iterable[str]) -> None:
        nonlocal facts, signals, fused
        before = len(facts)
        facts = _with_others(events, facts, documents, rows)
        if more := len(facts) - before:
            signals = {name: np.append(one, np.full(more, np.nan)) for name, one in signals.items()}
            signals["similarity"][before:] = _cosines(events, facts.slice(before), vector)
            fused = np.append(fused, np.zeros(more))

    def scores(*ways: Way) -> Floats:
        return raised(facts["document"].to_pylist(), fused, *ways)

    ranges: dict[str, list[tuple[int, int]]] = {}
    for document, *part in _rows_of(parts, "document", "first_unit", "end_unit"):
        ranges.setdefault(document, []).append((part[0], part[1]))
    hop = links.linked(query, unit_vector(vector), sources(facts, scores((NAMED, named)), ranges))
    add(hop)
    ways: tuple[Way, ...] = ((NAMED, named), (HOP, hop))
    documents = facts["document"].to_pylist()
    walked, bridged = links.around(query, documents, scores(*ways), signals["similarity"])
    add(bridged)
    ways = (*ways, (BRIDGE, bridged), (WALK, walked))
    return facts, signals, scores(*ways), reasons_of(*ways)


def _sessions(events: Snapshot, answers: dict[str, pa.Table], owners: set[str], rows: str | None) -> pa.Table:
    """The facts of the sessions that a signal gave, and of those that satisfy ``rows`` of the documents ``owners``."""
    names = [name for name in FACTS if name in events.schema.names]
    numbers = np.unique(np.concatenate([answers[name]["_rowid"].to_numpy() for name in ("similarity", "bm25")]))
    facts = read_rows(events, numbers, names).append_column("_rowid", pa.array(numbers))
    return _with_others(events, facts, owners, rows)


def _with_others(events: Snapshot, facts: pa.Table, documents: Iterable[str], rows: str | None) -> pa.Table:
    """``facts``, and those of the other ``documents`` whose sessions satisfy ``rows``."""
    missing = {*documents} - {*facts["document"].to_pylist()}
    numbers = rows_with(events, "document", missing, rows)
    if not len(numbers):
        return facts
    names = [name for name in facts.schema.names if name != "_rowid"]
    others = read_rows(events, numbers, names).append_column("_rowid", pa.array(numbers))
    return pa.concat_tables([facts, others.select(facts.schema.names)])


def _cosines(events: Snapshot, facts: pa.Table, vector: npt.NDArray[np.float32]) -> Floats:
    """The cosine of each row of ``facts`` to ``vector`` [d], float64 [n]; exact, whatever an index estimates."""
    numbers = facts["_rowid"].to_numpy()
    order = np.argsort(numbers)
    cosines = np.empty(len(order))
    cosines[order] = vectors_of(events, "vector", numbers[order]) @ unit_vector(vector)
    return cosines


def _best_parts(facts: pa.Table, parts: pa.Table) -> Floats:
    """For each session the largest cosine of the ``parts`` that are in it, float64 [n]; NaN where none is."""
    within: dict[str, list[tuple[int, int, float]]] = {}
    for document, *part in _rows_of(parts, "document", "first_unit", "end_unit", "cosine"):
        within.setdefault(document, []).append((part[0], part[1], part[2]))
    best = np.full(len(facts), np.nan)
    for row, (document, first, end) in enumerate(_rows_of(facts, "document", "first_unit", "end_unit")):
        longest = PART_SHARE * (end - first)
        inside = (one for one in within.get(document, ()) if first <= one[0] < end and one[1] - one[0] <= longest)
        best[row] = max((cosine for _, _, cosine in inside), default=np.nan)
    return best


def _scores(facts: pa.Table, table: pa.Table) -> Floats:
    """The scores that ``table`` gives to rows of ``facts``, float64 [n]; NaN for the others."""
    score = dict(zip(table["_rowid"].to_pylist(), table["_score"].to_pylist(), strict=True))
    scores: Any = [score.get(number, np.nan) for number in facts["_rowid"].to_pylist()]
    return np.array(scores, np.float64)


def _rows_of(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """The rows of ``table`` as values of the columns ``names``."""
    return zip(*(table[name].to_pylist() for name in names), strict=True)
