"""What a bank tells in the order of time: timelines, and relations with the times at which they hold."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.relations.reading import Relation
    from mnemic.timelines.reading import TimelineStep


class Histories:
    """The part of a bank that reads its relations and timelines."""

    view: View

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
