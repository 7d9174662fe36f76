"""The times that a text speaks of, in order, each as an interval of days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from mnemic.times.english import EXPRESSION, MONTHS, days_of, is_vague, may_have_times

PRECISIONS = ("day", "weekend", "week", "month", "season", "year")
"""From the narrowest to the widest."""

_SEASON_NAMES = {12: "winter", 3: "spring", 6: "summer", 9: "autumn"}


@dataclass(frozen=True)
class Moment:
    """``text[start:end]`` means the days from ``first`` on, up to but not including ``stop``.

    ``precision`` is one of `PRECISIONS`; ``vague`` says that the text counts in words such as "a few". ``anchor`` is
    the day that it was resolved against, None for a time that means the same whenever it is said.
    """

    start: int
    end: int
    first: date
    stop: date
    precision: str
    anchor: date | None
    vague: bool = False

    @property
    def words(self) -> str:
        """As an answer would say it: "7 May 2023", "week of 1 May 2023", "June 2023", "summer 2022", "about 2022"."""
        return f"about {self._exact}" if self.vague else self._exact

    @property
    def _exact(self) -> str:
        last = self.stop - timedelta(1)
        match self.precision:
            case "day":
                return day_in_words(self.first)
            case "weekend" | "week":
                return f"{self.precision} of {day_in_words(self.first)}"
            case "month":
                return f"{MONTHS[self.first.month - 1]} {self.first.year}"
            case "season" if last.year != self.first.year:
                return f"winter {self.first.year}-{last.year}"
            case "season":
                return f"{_SEASON_NAMES[self.first.month]} {self.first.year}"
            case _:
                return str(self.first.year)


def day_in_words(day: date) -> str:
    """A day as people write it: "7 May 2023"."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def moments(text: str, anchor: date | None) -> Iterator[Moment]:
    """The times in ``text``, said on the day ``anchor`` (None: unknown), in order and without overlap.

    Takes time in proportion to the length of the text. Expressions that need an anchor and have none are left out.
    """
    if not may_have_times(text):
        return
    for match in EXPRESSION.finditer(text):
        resolved = days_of(match, anchor)
        if resolved is not None:
            (precision, first, stop), relative = resolved
            yield Moment(*match.span(), first, stop, precision, anchor if relative else None, is_vague(match))
