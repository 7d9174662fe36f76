"""What a bank tells in the order of time: notes and relations with the times at which they hold, and timelines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.notes.history import Note
    from mnemic.relations.reading import Relation
    from mnemic.timelines.reading import TimelineStep


class Histories:
    """The part of a bank that reads its notes, relations and timelines."""

    view: View

    def notes(
        self,
        subject: str | None = None,
        attribute: str | None = None,
        *,
        tenant: str | None = None,
        as_of: datetime | date | None = None,
        closed: bool = False,
    ) -> list[Note]:
        """What a language model wrote of events (the section `written`), in the order of their times.

        By default the notes that hold; with ``closed`` also those that a later one ended, each with its interval and
        the note that ended it. ``as_of``: the notes that held at a time, as far as this release knows; an earlier
        release, opened by its name, knows less. ``subject`` and ``attribute`` are compared without regard to case.
        """
        from mnemic.notes.reading import notes_of

        return notes_of(self.view, subject, attribute, tenant, as_of, closed)

    def find_notes(
        self,
        query: str,
        words: int = 250,
        *,
        tenant: str | None = None,
        as_of: datetime | date | None = None,
        skip: Sequence[str] = (),
    ) -> list[Note]:
        """Notes that hold and have words of ``query``, best first, within ``words``: to stand beside a `search`.

        Half the budget for notes helps where several turns make an answer, and costs where one does (LOG.md). ``skip``
        are texts that are shown already, such as `Results.dated`: a note whose words all stand in one of them is left
        out. ``as_of`` and ``tenant`` are as in `notes`.
        """
        from mnemic.notes.search import find_notes

        return find_notes(self.view, query, words, tenant, as_of, skip)

    def relations(
        self,
        name: str | None = None,
        label: str | None = None,
        *,
        tenant: str | None = None,
        as_of: datetime | date | None = None,
        closed: bool = False,
    ) -> list[Relation]:
        """Relations that a language model read in events (the section `relations`), in the order of their times.

        ``name`` stands at either end. By default the relations that hold; ``as_of``, ``closed`` and ``tenant`` are as
        in `Bank.notes`.
        """
        from mnemic.relations.reading import relations_of

        return relations_of(self.view, name, label, tenant, as_of, closed)

    def timeline(
        self,
        name: str | None = None,
        *,
        tenant: str | None = None,
        after: datetime | date | None = None,
        before: datetime | date | None = None,
        meant: bool = False,
        k: int | None = None,
    ) -> list[TimelineStep]:
        """Events in the order of the times that they speak of (the section `timelines`), without a language model.

        Those that mention ``name``, or that it speaks in; of all names by default. An event has a step for each time
        that its text names, else one for when it was said, unless ``meant``. ``after`` and ``before``: steps that reach
        beyond the first and begin before the second. ``k``: the first so many.
        """
        from mnemic.timelines.reading import timeline

        return timeline(self.view, name, tenant, after, before, meant, k)
