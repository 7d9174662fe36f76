"""Times as people write them in conversations, by a short list of forms and nothing guessed.

A form is read if it can mean one time only: 05/08/2023 is a day in May or in August, so it is none of them. The names
of months are English whatever the machine speaks, and a time that states no zone is in UTC whatever the machine's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

FORMS = "ISO 8601 such as 2026-03-01T12:00:00Z, seconds or milliseconds since 1970, or `1:56 pm on 8 May, 2026`"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MILLISECONDS = 1e11
"""From here on a number is milliseconds: as seconds it would be a day after the year 5138."""

LARGEST = 1e14
"""No number from here on is a time: as milliseconds it would be after the year 5138 too."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FULL = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)

_NUMBER = re.compile(r"[0-9]{10}(\.[0-9]{1,9})?|[0-9]{13}")
_CLOCK = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?(?: ?(?P<half>[ap])\.?m\.?)?"
_ZONE = r"(?: (?P<zone>[+-][0-9]{4}|gmt|utc?|z))?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,? )?"
_DAYS = (
    r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?(?: of)? (?P<month>[a-z]{3,9})\.?,? (?P<year>[0-9]{4})",  # 8 May, 2023
    r"(?P<month>[a-z]{3,9})\.? (?P<day>[0-9]{1,2})(?:st|nd|rd|th)?,? (?P<year>[0-9]{4})",  # May 8, 2023
    r"(?P<year>[0-9]{4})[/-](?P<month>[0-9]{1,2})[/-](?P<day>[0-9]{1,2})(?: \([a-z]{3}\))?",  # 2023/05/08 (Mon)
)
_WRITTEN = tuple(
    re.compile(form)
    for day in _DAYS
    for form in (
        f"{_CLOCK}{_ZONE}(?: on|,)? {_WEEKDAY}{day}",
        f"{_WEEKDAY}{day}(?:(?:,| at)? {_CLOCK}{_ZONE})?",  # RFC 2822 is one of these
    )
)
_LONGEST = 64


def read_time(value: object) -> datetime | None:
    """The time, in UTC, that a value of JSON states in one of `FORMS`; None where it states none."""
    try:
        if isinstance(value, str):
            return _from_text(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
            return _from_number(value)
    except (ValueError, OverflowError):
        pass
    return None


def _from_number(value: float) -> datetime:
    return EPOCH + (timedelta(milliseconds=value) if abs(value) >= MILLISECONDS else timedelta(seconds=value))


def _from_text(value: str) -> datetime | None:
    text = value.strip()
    if len(text) > _LONGEST or not text.isascii():
        return None
    if _NUMBER.fullmatch(text):
        return _from_number(float(text) if "." in text else int(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        written = " ".join(text.lower().split())
        match = next(filter(None, (form.fullmatch(written) for form in _WRITTEN)), None)
        return None if match is None else _from_parts(match)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _from_parts(match: re.Match[str]) -> datetime:
    """Raises `ValueError` for a day or an hour that there is not."""
    hour = int(match["hour"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("an hour before or after noon is one of twelve")
        hour = hour % 12 + (12 if match["half"] == "p" else 0)
    clock = (hour, int(match["minute"] or 0), int(match["second"] or 0))
    zone = match["zone"] or ""
    offset = timedelta()
    if zone[:1] in ("+", "-"):
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:])) * (-1 if zone[0] == "-" else 1)
    day = (int(match["year"]), _month(match["month"]), int(match["day"]))
    return datetime(*day, *clock, tzinfo=timezone(offset)).astimezone(UTC)


def _month(name: str) -> int:
    if name.isdecimal():
        return int(name)
    if name in FULL:
        return FULL.index(name) + 1
    return MONTHS.index("sep" if name == "sept" else name) + 1
