"""Remembered rows that no build has seen, ranked beside the rows of the release.

Their vectors are compared exactly, their words are scored on the scale of the index (`mnemic.search.words`), and each
signal gives them the rank that they would have among the rows that it gave. Of events and documents they have none:
there the rank of their own words stands in, since what was just remembered is its own context. The rows of the release
keep their scores and order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Floats, Floats32
from mnemic.dataset import Snapshot
from mnemic.dataset.filtered import satisfying
from mnemic.inbox.calls import SOURCE
from mnemic.inbox.inbox import Inbox
from mnemic.inbox.pieces import WaitingPiece, smallest, whole
from mnemic.inbox.vectors import WaitingVectors
from mnemic.inbox.waiting import WaitingCall
from mnemic.search.documents import WORDS
from mnemic.search.fusion import DENSE_SHARE, RANK_CONSTANT, TEXT_SHARE, certainty, ranks, with_neighbours
from mnemic.search.hybrid import GIVEN, POOL, Ranked
from mnemic.search.results import Hit
from mnemic.search.words import word_scores

ENCODED = 64
"""Rows that one search encodes, at most."""

_READ = 100
"""Best rows of the index whose texts are read for the statistics of words."""
_HEARD_ELSEWHERE = ("event_bm25", "document_bm25")
_NO_ROW = np.iinfo(np.uint64).max


@dataclass(frozen=True)
class _Row:
    """A row that waits: its piece, its call, and its vector float32 [d]; None where nobody has encoded it yet."""

    piece: WaitingPiece
    call: WaitingCall
    vector: Floats32 | None


class WaitingRows:
    """The rows that wait, with their vectors, which are kept for as long as the rows wait.

    Encoding a row takes 10 ms of a core. So a search encodes at most `ENCODED` rows that are new to it, the newest
    first, and hears the words of all; the next search goes on.
    """

    def __init__(self, inbox: Inbox, vectors: Callable[[], WaitingVectors]) -> None:
        self._inbox, self._load = inbox, vectors
        self._loaded: WaitingVectors | None = None
        self._one = threading.Lock()
        self._pieces: dict[tuple[str, int], list[WaitingPiece]] = {}
        self._encoded: dict[str, Floats32] = {}

    def rows(self, level: str | None) -> list[_Row]:
        """The rows of ``level``, the smallest by default; asked by one thread at a time."""
        with self._one:
            return self._rows(level)

    def _rows(self, level: str | None) -> list[_Row]:
        calls = {(call.rows[0].id, len(call.rows)): call for call in self._inbox.calls()}
        if not calls:
            return []
        self._pieces = {key: self._pieces.get(key) or smallest(call) for key, call in calls.items()}
        self._encode([piece for some in self._pieces.values() for piece in some])
        rows: list[_Row] = []
        for key, call in calls.items():
            own = self._pieces[key]
            if level in ("event", "session"):
                rows.append(_Row(whole(call, own, level), call, self._mean(own)))
            else:
                rows += [
                    _Row(piece, call, self._encoded.get(piece.id)) for piece in own if level in (None, piece.level)
                ]
        return rows

    def _encode(self, pieces: Sequence[WaitingPiece]) -> None:
        """Encode the newest of ``pieces`` that have no vector, or read the vectors that another process has stored."""
        missing = [piece for piece in pieces if piece.id not in self._encoded]
        if not missing:
            return
        if self._loaded is None:
            self._loaded = self._load()
        vectors = self._loaded.of([piece.text for piece in missing], ENCODED)
        ids = {piece.id for piece in pieces}
        fresh = {piece.id: one for piece, one in zip(missing, vectors, strict=True) if one is not None}
        self._encoded = {name: one for name, one in {**self._encoded, **fresh}.items() if name in ids}
        self._loaded.store([piece.text for piece in pieces])

    def _mean(self, pieces: Sequence[WaitingPiece]) -> Floats32 | None:
        """The normalised mean of the vectors of a call."""
        vectors = [self._encoded[piece.id] for piece in pieces if piece.id in self._encoded]
        if not vectors:
            return None
        mean = np.mean(vectors, axis=0)
        length = float(np.linalg.norm(mean))
        unit: Floats32 = (mean / length if length > 0 else mean).astype(np.float32)
        return unit


def beside(
    ranked: Ranked,
    rows: Sequence[_Row],
    events: Snapshot,
    query: str,
    vector: Floats32,
    where: str | None,
    pool: int,
    scaled: bool,
) -> Ranked:
    """``ranked``, and those of ``rows`` that satisfy ``where``, SQL over `events`, at the places that they deserve.

    ``vector`` [d] is the query's; at most ``pool`` rows are added, the best. ``scaled`` says that the scores of
    ``ranked`` are those of whole documents.
    """
    if where is not None and rows:
        flags = satisfying(as_events(rows, events.schema), where)
        rows = [row for row, flag in zip(rows, flags.tolist(), strict=True) if flag]
    if not rows:
        return ranked
    pairs = _pairs(rows)
    cosines = _cosines(rows, vector)
    words = _word_scores(ranked, rows, events, query)
    meaning = with_neighbours(cosines, pairs, DENSE_SHARE)
    shared_words = with_neighbours(words, pairs, TEXT_SHARE)
    if scaled:
        scores = _of_documents(ranked, meaning, shared_words, max(pool, POOL))
    else:
        scores = _fused(ranked, meaning, shared_words)
    best = np.sort(np.argsort(-scores, kind="stable")[:pool])
    own = {"similarity": cosines[best], "bm25": words[best]}
    pairs = np.searchsorted(best, pairs[np.isin(pairs, best).all(axis=1)])
    return _merged(ranked, [rows[number] for number in best.tolist()], scores[best], own, pairs)


def as_events(rows: Sequence[_Row], schema: pa.Schema) -> pa.Table:
    """The rows as a condition over `events` sees them; null in columns that only a build fills."""
    facts = [
        {
            "id": row.piece.id,
            "document": row.call.id,
            "source": SOURCE,
            "collection": "",
            "tenant": row.call.tenant,
            "session": "",
            "level": row.piece.level,
            "leaf": row.piece.leaf,
            "start": row.piece.start,
            "end": row.piece.end,
            "text": row.piece.text,
            "words": row.piece.words,
            "speakers": list(row.piece.speakers),
            "turns": list(row.piece.turns),
            "start_time": row.piece.spoken[0][1],
            "end_time": row.piece.spoken[-1][1],
        }
        for row in rows
    ]
    fields = [field.with_nullable(True).remove_metadata() for field in schema if field.name != "vector"]
    return pa.Table.from_pylist(facts, pa.schema(fields))


def _cosines(rows: Sequence[_Row], vector: Floats32) -> Floats:
    """The cosine of each row to ``vector`` [d], float64 [n]; NaN for rows without a vector."""
    cosines = np.full(len(rows), np.nan)
    there = {number: row.vector for number, row in enumerate(rows) if row.vector is not None}
    if there:
        cosines[list(there)] = np.stack(list(there.values())).astype(np.float64) @ _unit(vector)
    return cosines


def _pairs(rows: Sequence[_Row]) -> Any:
    """(row, neighbour) of rows of one call that stand side by side, int64 [m, 2]."""
    pairs = [
        pair
        for number in range(1, len(rows))
        if rows[number].call.id == rows[number - 1].call.id
        for pair in ((number - 1, number), (number, number - 1))
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _unit(vector: Floats32) -> Floats:
    exact = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(exact))
    unit: Floats = exact / length if length > 0 else exact
    return unit


def _word_scores(ranked: Ranked, rows: Sequence[_Row], events: Snapshot, query: str) -> Floats:
    scores = ranked.signals.get("bm25", np.zeros(0))
    places = np.flatnonzero(~np.isnan(scores))
    places = places[np.argsort(-scores[places], kind="stable")][:_READ]
    numbers = ranked.facts["_rowid"].to_numpy()[places]
    texts = events.take_rows(numbers, ["text"])["text"].to_pylist() if len(numbers) else []
    return word_scores(query, [row.piece.text for row in rows], texts, scores[places], events.rows_of_manifest)


def _fused(ranked: Ranked, cosines: Floats, words: Floats) -> Floats:
    """Reciprocal ranks of the waiting rows among those that each signal gave, float64 [n].

    Rows of the release keep their ranks, so one that waits stands half a rank before the first that it is better than.
    """
    by_meaning = _places(ranked, "similarity", cosines) - 0.5
    by_words = _places(ranked, "bm25", words) - 0.5
    elsewhere = sum(name in ranked.signals for name in _HEARD_ELSEWHERE)
    fused: Floats = 1.0 / (RANK_CONSTANT + by_meaning) + (1 + elsewhere) / (RANK_CONSTANT + by_words)
    return fused


def _places(ranked: Ranked, signal: str, scores: Floats) -> Floats:
    released = ranked.signals.get(signal, np.zeros(0))
    return ranks(np.concatenate([released, scores]))[len(released) :]


def _of_documents(ranked: Ranked, cosines: Floats, words: Floats, pool: int) -> Floats:
    """The scores that `mnemic.search.documents` gives to sessions, of the waiting ones."""
    released = ranked.signals
    meaning = np.fmax(released["similarity"], released["part_similarity"]) + released["similarity"]
    by_words = np.nan_to_num(released["bm25"]) + np.nan_to_num(released["title_bm25"])
    of_meaning = certainty(meaning, pool) * _along(2 * np.nan_to_num(cosines), meaning)
    return of_meaning + WORDS * certainty(by_words, pool) * _along(np.nan_to_num(words), by_words)


def _along(scores: Floats, released: Floats) -> Floats:
    """``scores`` between the last of ``released``, 0, and the best, 1; above that where they are better."""
    if not len(released) or released.max() == released.min():
        better: Floats = (scores > released.max(initial=0.0)).astype(np.float64)
        return better
    along: Floats = np.maximum((scores - released.min()) / (released.max() - released.min()), 0.0)
    return along


def _merged(ranked: Ranked, rows: Sequence[_Row], scores: Floats, own: dict[str, Floats], pairs: Any) -> Ranked:
    before = len(ranked.facts)
    facts = pa.table(
        {
            "id": [row.piece.id for row in rows],
            "words": pa.array([row.piece.words for row in rows], ranked.facts.schema.field("words").type),
            "_rowid": pa.array(np.full(len(rows), _NO_ROW), pa.uint64()),
        }
    ).select(GIVEN)
    every = pa.concat_tables([ranked.facts.select(GIVEN), facts.cast(ranked.facts.select(GIVEN).schema)])
    fused = np.concatenate([ranked.scores, scores])
    order = np.lexsort((every["id"].to_numpy(), -fused))
    place = {old: new for new, old in enumerate(order.tolist())}
    neighbours = [*ranked.neighbours, *([] for _ in rows)]
    for row, neighbour in pairs.tolist():
        neighbours[before + row] = [*neighbours[before + row], before + neighbour]
    signals = {
        name: np.concatenate([released, own.get(name, np.full(len(rows), np.nan))])
        for name, released in ranked.signals.items()
    }
    places = {
        name: np.concatenate(
            [released, _places(ranked, name, own[name]) if name in own else np.full(len(rows), np.inf)]
        )
        for name, released in ranked.places.items()
    }
    hits = {place[before + number]: _hit(row, number, own, scores, places, before) for number, row in enumerate(rows)}
    return Ranked(
        every.take(pa.array(order)),
        [[place[one] for one in neighbours[old]] for old in order.tolist()],
        fused[order],
        {name: values[order] for name, values in signals.items()},
        {name: values[order] for name, values in places.items()},
        {place[old]: why for old, why in ranked.links.items()},
        hits,
    )


def _hit(row: _Row, number: int, own: dict[str, Floats], scores: Floats, places: dict[str, Floats], before: int) -> Hit:
    parts = ["remembered, not yet consolidated"]
    for name, phrase in (("similarity", "meaning"), ("bm25", "words")):
        if name in places and np.isfinite(places[name][before + number]):
            parts.append(f"{phrase}: rank {int(places[name][before + number])}")
    score = {name: None if np.isnan(values[number]) else float(values[number]) for name, values in own.items()}
    piece = row.piece
    return Hit(
        id=piece.id,
        document=row.call.id,
        source=SOURCE,
        locator=row.call.id,
        collection="",
        tenant=row.call.tenant,
        session="",
        level=piece.level,
        start=piece.start,
        end=piece.end,
        time=piece.spoken[0][1],
        speakers=list(piece.speakers),
        turns=list(piece.turns),
        text=piece.text,
        words=piece.words,
        score=float(scores[number]),
        similarity=score["similarity"],
        bm25=score["bm25"],
        event_bm25=None,
        document_bm25=None,
        reason=", ".join(parts),
        spoken=piece.spoken,
        pending=True,
    )
