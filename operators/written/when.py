"""Times as a model writes them: 2023, 2023-05, 2023-05-07, 2023-05-07T10:00, and two of them as from/to.

All are in UTC. An interval is [start, stop); its width is the precision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_TIME = re.compile(r"([12]\d{3})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::\d\d)?Z?)?)?)?")


@dataclass(frozen=True)
class When:
    """From ``start`` until before ``stop``; ``ends`` where the text states an end of its own."""

    start: datetime
    stop: datetime
    precision: str
    ends: bool = False


def read_when(text: str) -> When | None:
    """The time that ``text`` names; None where it is none, or ends before it begins."""
    parts = text.strip().split("/")
    times = [_one(part.strip()) for part in parts]
    if len(times) == 1:
        return times[0]
    if len(times) != 2 or times[0] is None or times[1] is None or times[1].stop <= times[0].start:
        return None
    return When(times[0].start, times[1].stop, times[0].precision, ends=True)


def validity(when: When | None) -> dict[str, Any]:
    """A time as a row has it that holds from then on; None for none."""
    if when is None:
        return {"valid_from": None, "valid_to": None, "precision": ""}
    return {"valid_from": when.start, "valid_to": when.stop if when.ends else None, "precision": when.precision}


def _one(text: str) -> When | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute = (int(group) if group else None for group in match.groups())
    assert year is not None
    try:
        start = datetime(year, month or 1, day or 1, hour or 0, minute or 0, tzinfo=UTC)
        if month is None:
            return When(start, datetime(year + 1, 1, 1, tzinfo=UTC), "year")
        if day is None:
            return When(start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC), "month")
        if hour is None:
            return When(start, start + timedelta(1), "day")
        return When(start, start + timedelta(minutes=1), "instant")
    except (ValueError, OverflowError):
        return None
