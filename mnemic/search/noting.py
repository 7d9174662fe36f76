"""Notes in the ranking of a search: they raise the rows that state them, and lead to rows that no signal found.

A note is written as somebody would ask for it, with names in place of "I" and "she", so a question is often nearer to
the note than to the turn. Notes are ranked by meaning and by words, and the rows that a note names get a share of its
reciprocal rank. Of LoCoMo's development questions with GPT's facts as notes .25 was the best of .25, .35 and .5 on the
even ones (evidence in 250, 500 and 1,000 words, summed), and .5 where a walk over words ranks turns beside them; at 1
and above notes drown the turns (LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Floats
from mnemic.conditions import all_of
from mnemic.dataset import Snapshot
from mnemic.dataset.index import built, read_rows, rows_of_ids, search_text, search_vector
from mnemic.notes.datasets import NOTES_SPEC
from mnemic.quoting import one_of
from mnemic.search.fusion import RANK_CONSTANT
from mnemic.terminal import one_line
from mnemic.view import View

VECTOR = "vector"
"""Column of notes that the step `note_vectors` grows."""

NOTED = 0.25
"""Weight of a note's reciprocal rank for the rows that state it; a signal of the rows themselves has 1."""

NOTED_BESIDE_WALK = 0.5
"""The same where the search walks over words too (`mnemic.search.walk`), which puts the turns themselves first."""

POOL = 200
"""Notes that each signal gives."""

LEADING = 50
"""Best notes that lead to rows which no other signal found."""

_COLUMNS = ("id", "tenant", "text", "subject", "attribute", "functional", "sources")
_QUOTED = 60


@dataclass(frozen=True)
class RankedNotes:
    """``rows`` are notes in the order of their ids, with the columns of `_COLUMNS`.

    ``meaning`` and ``words`` are their ranks from 1 by these signals, float64 [n], infinite where one gives none.
    ``exact`` says that the rows of notes which met the condition on notes meet that of the search.
    """

    rows: list[dict[str, Any]]
    meaning: Floats
    words: Floats
    exact: bool = False

    def events(self, place: int) -> list[str]:
        """Ids of the rows of `events` that state the note at ``place``."""
        return [source["event"] for source in self.rows[place]["sources"]]

    def order(self, scores: Floats) -> list[int]:
        """Places by falling ``scores`` float64 [n]; of equals the smaller id comes first."""
        places: list[int] = np.argsort(-scores, kind="stable").tolist()
        return places


def can_rank(view: View) -> bool:
    """Whether a search can rank by notes of this release: there are some, and they have vectors."""
    if NOTES_SPEC.name not in view:
        return False
    notes = view.dataset(NOTES_SPEC.name)
    return VECTOR in notes.schema.names and notes.rows_of_manifest > 0


def rank_notes(
    notes: Snapshot, query: str, vector: npt.NDArray[np.float32], where: str | None, exact: bool = False
) -> RankedNotes:
    """The notes that satisfy ``where``, the nearest to ``vector`` [d] and those with most words of ``query``."""
    nearest = search_vector(notes, VECTOR, (), vector, POOL, where)["_rowid"].to_numpy()
    worded = nearest[:0]
    if "text" in built(notes):
        worded = search_text(notes, "text", (), query, POOL, where)["_rowid"].to_numpy()
    numbers = np.unique(np.concatenate([nearest, worded]))
    rows = read_rows(notes, numbers, _COLUMNS).to_pylist()
    by_id = sorted(range(len(rows)), key=lambda row: rows[row]["id"])
    ordered = numbers[np.array(by_id, np.int64)]
    return RankedNotes([rows[row] for row in by_id], _ranks(ordered, nearest), _ranks(ordered, worded), exact)


def _ranks(numbers: npt.NDArray[np.uint64], ranking: npt.NDArray[np.uint64]) -> Floats:
    place = {number: rank for rank, number in enumerate(ranking.tolist(), start=1)}
    return np.array([place.get(number, np.inf) for number in numbers.tolist()], np.float64)


def _others(events: Snapshot, ids: list[str], schema: pa.Schema, rows: str | None, exact: bool) -> pa.Table:
    """The rows with these ``ids`` that satisfy ``rows``, by their row ids; with ``exact`` all of them do."""
    names = [name for name in schema.names if name != "_rowid"]
    if not exact:
        sought = all_of(rows, one_of("id", ids))
        return pa.Table.from_batches(list(events.scan(names, sought, row_ids=True)), schema).sort_by("_rowid")
    numbers, there = rows_of_ids(events, "id", ids)
    numbers = np.sort(numbers[there])
    return read_rows(events, numbers, names).append_column("_rowid", pa.array(numbers)).select(schema.names)


def raise_sources(
    events: Snapshot,
    notes: RankedNotes,
    facts: pa.Table,
    scores: Floats,
    rows: str | None,
    weight: float = NOTED,
) -> tuple[pa.Table, Floats, dict[str, str]]:
    """``facts`` [n] of rows of ``events`` with those that the best notes lead to; the scores of all; reasons by id.

    ``scores`` float64 [n] are of the search. A row gets a share of the best note that names it by ``weight``, and is
    there only if it satisfies ``rows``.
    """
    fused = 1.0 / (RANK_CONSTANT + notes.meaning) + 1.0 / (RANK_CONSTANT + notes.words)
    best: dict[str, tuple[int, int]] = {}
    for rank, place in enumerate(notes.order(fused), start=1):
        for event in notes.events(place):
            best.setdefault(event, (rank, place))
    there = facts["id"].to_pylist()
    missing = {event for event, (rank, _) in best.items() if rank <= LEADING} - {*there}
    if missing:
        others = _others(events, sorted(missing), facts.schema, rows, notes.exact)
        facts = pa.concat_tables([facts, others])
        there += others["id"].to_pylist()
    shares = [weight / (RANK_CONSTANT + best[event][0]) if event in best else 0.0 for event in there]
    reasons = {
        event: f'note "{one_line(notes.rows[place]["text"], _QUOTED)}": rank {rank}'
        for event, (rank, place) in best.items()
    }
    raised = np.append(scores, np.zeros(len(there) - len(scores))) + np.array(shares, np.float64)
    return facts, raised, {event: reasons[event] for event in there if event in reasons}
