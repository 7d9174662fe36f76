"""A budget that rows and notes share: rows fill their part, notes fill theirs, and what is left goes to rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from mnemic.search.answer import Budget
from mnemic.search.buffers import reading_order
from mnemic.search.content import filled
from mnemic.search.hybrid import Ranked
from mnemic.search.note_hits import NoteHit, note_hits
from mnemic.search.noting import RankedNotes
from mnemic.search.results import Results
from mnemic.view import View


def shared(
    view: View,
    ranked: Ranked,
    notes: RankedNotes,
    sizes: Sequence[int],
    budget: Budget,
    share: float,
    where: str | None,
    count: Callable[[str], int],
) -> tuple[list[NoteHit], Budget]:
    """The notes that stand beside the best rows of ``ranked``, and the budget that they leave for rows.

    ``share`` of the budget is for notes, of what the rows before them left. ``where`` is the condition on rows.
    """
    limit = budget.tokens or budget.words or 0
    part = _of(budget, round(limit * (1 - share)))
    results = Results(reading_order(filled(view, ranked, sizes, part)))
    shown = results.dated if budget.dated else [hit.text for hit in results]
    places = {identity: rank for rank, identity in enumerate(ranked.facts["id"].to_pylist(), start=1)}
    left = limit - sum(map(count, shown))
    chosen = note_hits(view, notes, places, shown, where, left, count, budget.dated)
    used = sum(count(note.dated if budget.dated else note.text) for note in chosen)
    return chosen, _of(budget, limit - used)


def _of(budget: Budget, limit: int) -> Budget:
    """The ``budget`` with another limit, in its own unit."""
    limits = {"tokens": max(limit, 1)} if budget.tokens else {"words": max(limit, 1)}
    return dataclasses.replace(budget, **limits)  # type: ignore[arg-type]
