"""Notes that answer a question, under a budget of words of their own, to stand beside the turns of a search.

The words of notes and their subjects are searched (BM25). Which of the notes holds is computed by the history of their
subjects, so a note that a later one ended is left out, or told with its end where somebody asks for a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from mnemic.dataset.index import built, search_text
from mnemic.errors import QueryError
from mnemic.notes.datasets import NOTES_SPEC
from mnemic.notes.history import Note
from mnemic.notes.reading import notes_where
from mnemic.quoting import one_of, quoted
from mnemic.view import View, fitting
from mnemic.words import count_words

POOL = 200
"""Notes that are looked at."""


def find_notes(
    view: View,
    query: str,
    words: int,
    tenant: str | None = None,
    at: datetime | date | None = None,
    skip: Sequence[str] = (),
) -> list[Note]:
    """Notes for ``query``, best first, whose texts have ``words`` together at most.

    ``tenant``: only its notes. ``at``: those that held then; by default those that hold. ``skip`` are texts that are
    shown already: a note whose words all stand in one of them is left out. Raises ``QueryError`` for an empty query and
    where the release has no notes.
    """
    if not query.strip():
        raise QueryError("The query is empty. Ask for something, as in bank.find_notes('where does Ada live?').")
    if words < 1:
        raise QueryError(f"A search with words={words} has nothing to give; set words to at least 1.")
    query = query.encode("utf-8", "replace").decode("utf-8")
    notes_where(view, "false")  # tells where there are none
    snapshot = view.dataset(NOTES_SPEC.name)
    if "text" not in built(snapshot):
        return []  # an index is made of the first note
    with fitting(view, "The notes"):
        where = None if tenant is None else f"tenant = {quoted(tenant)}"
        hits = search_text(snapshot, "text", ("id", "subject"), query, POOL, where)
    place = {name: rank for rank, name in enumerate(hits["id"].to_pylist())}
    subjects = sorted({subject.lower() for subject in hits["subject"].to_pylist()})
    if not subjects:
        return []
    condition = one_of("lower(subject)", subjects)
    notes = notes_where(view, condition if tenant is None else f"{condition} AND tenant = {quoted(tenant)}", at)
    ranked = {min(place[name] for name in note.ids if name in place): note for note in notes if {*note.ids} & {*place}}
    shown = [frozenset(text.casefold().split()) for text in skip]
    chosen, left = [], words
    for _, note in sorted(ranked.items()):
        size = count_words(note.text)
        if size <= left and not any(frozenset(note.text.casefold().split()) <= text for text in shown):
            chosen.append(note)
            left -= size
    return chosen
