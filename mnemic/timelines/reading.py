"""The timeline of a name, of a tenant, or of a whole release: its steps in the order of their times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from mnemic.conditions import all_of
from mnemic.conditions.values import moment, timestamp
from mnemic.errors import QueryError
from mnemic.links.names import entity_name
from mnemic.quoting import parts_of, quoted
from mnemic.timelines.datasets import MEANT, TIMELINES, TIMELINES_SPEC
from mnemic.times.moments import Moment
from mnemic.view import View, fitting


@dataclass(frozen=True)
class TimelineStep:
    """An ``event`` (its id) with its ``text``, from ``first`` until before ``stop``, in UTC.

    ``kind`` is "meant" where ``text[start:end]`` names the time, and "said" where it names none and was said then.
    ``precision`` is how wide the time is, ``vague`` says that it counts in words such as "a few". ``said_at`` is None
    where that is unknown. ``names`` are in small letters.
    """

    event: str
    document: str
    tenant: str
    session: str
    text: str
    kind: str
    first: datetime
    stop: datetime
    precision: str
    vague: bool
    said_at: datetime | None
    names: tuple[str, ...]
    start: int
    end: int

    @property
    def words(self) -> str:
        """The time as an answer would say it: "7 May 2023", "week of 1 May 2023", "about 2022"."""
        if self.kind != MEANT:
            return f"{self.first:%Y-%m-%d %H:%M}"
        return Moment(0, 0, self.first.date(), self.stop.date(), self.precision, None, self.vague).words


def timeline(
    view: View,
    name: str | None = None,
    tenant: str | None = None,
    after: datetime | date | None = None,
    before: datetime | date | None = None,
    meant: bool = False,
    k: int | None = None,
) -> list[TimelineStep]:
    """The steps of ``name`` in the order of their times; of all names where it is None.

    ``after`` and ``before``: steps that reach beyond the first and begin before the second. ``meant``: only times that
    a text names. ``k``: the first so many. Raises ``QueryError`` where the release has no timelines.
    """
    if TIMELINES_SPEC.name not in view:
        raise QueryError(
            f"Release {view.release.name} of {view.path} has no timelines. Add the section `timelines` to its recipe, "
            "and build again; no language model is needed."
        )
    if k is not None and k < 1:
        raise QueryError(f"A timeline of k={k} steps has nothing to give; set k to at least 1.")
    called = None if name is None else entity_name(name)
    if called == "":
        return []  # function words, letters and numbers are no names
    conditions = (
        called and f"array_has(names, {quoted(called)})",
        None if tenant is None else f"tenant = {quoted(tenant)}",
        None if after is None else f"stop > {timestamp(moment(after, 'after'))}",
        None if before is None else f"first < {timestamp(moment(before, 'before'))}",
        f"kind = '{MEANT}'" if meant else None,
    )
    with fitting(view, "The timelines"):
        table = view.table(TIMELINES_SPEC.name, TIMELINES.names, all_of(*conditions))
        order = [(column, "ascending") for column in ("first", "stop", "said_at", "document", "start", "end")]
        rows = table.sort_by(order).slice(0, k).to_pylist()
        texts = _texts(view, sorted({row["event"] for row in rows}))
        steps = []
        for row in rows:
            text, begin = texts[row["event"]]
            places = {"start": row["start"] - begin, "end": row["end"] - begin}
            times = {one: row[one] and row[one].astimezone(UTC) for one in ("first", "stop", "said_at")}
            steps.append(TimelineStep(**{**row, **places, **times, "names": tuple(row["names"]), "text": text}))
    return steps


def _texts(view: View, events: list[str]) -> dict[str, tuple[str, int]]:
    """Event -> its text, and its first character in the document."""
    texts: dict[str, tuple[str, int]] = {}
    for condition in parts_of("id", events):
        rows = view.table("events", ["id", "text", "start"], condition)
        texts.update((row["id"], (row["text"], row["start"])) for row in rows.to_pylist())
    return texts
