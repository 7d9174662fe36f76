"""English expressions of time: one expression that finds them all in one pass, and the days that each means.

Every alternative is bounded (a few words, spaces of at most three characters), so a text of n characters takes time in
proportion to n whatever it holds. A month alone is none ("may I", "march on") unless a word before it or a year behind
it says so. Weeks begin on Monday. "On Friday" is the last one before the day of speaking, as people tell what happened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta

Days = tuple[str, date, date]
"""(precision, first day, the day after the last)."""


MONTHS = tuple(
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SEASONS = {"winter": 12, "spring": 3, "summer": 6, "autumn": 9, "fall": 9}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_VAGUE = {"couple": 2, "few": 3, "several": 4}
_COUNTS = {word: number for number, word in enumerate(_NUMBERS)} | {"a": 1, "an": 1} | _VAGUE
_WHICH = {"last": -1, "past": -1, "previous": -1, "this": 0, "next": 1, "coming": 1}
_S = r"[ \t\n]{1,3}"
_MONTH = (
    r"(?:january|february|april|june|july|august|september|october|november|december|"
    r"jan|feb|mar(?!ch)|apr|jun|jul|aug|sept?|oct|nov|dec|(?-i:May|March))"
)
"""May and march are verbs too: as months they have a capital."""
_WEEKDAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?"
_COUNT = rf"(?P<count>(?:a{_S})?couple(?:{_S}of)?|(?:a{_S})?few|several|an?|[0-9]{{1,3}}|{'|'.join(_NUMBERS[1:])})"
_THE = rf"(?:the{_S})?"
_YEAR = r"(?P<{}>[12][0-9]{{3}})(?![0-9])"

_ALTERNATIVES = (
    rf"(?P<before_yesterday>{_THE}day{_S}before{_S}yesterday)",
    r"(?P<yesterday>yesterday|last[ \t\n]{1,3}(?:night|evening))",
    rf"(?P<today>today|tonight|this{_S}(?:morning|afternoon|evening))",
    rf"(?P<after_tomorrow>{_THE}day{_S}after{_S}tomorrow)",
    r"(?P<tomorrow>tomorrow)",
    rf"(?P<ago>{_COUNT}{_S}(?P<unit>day|week|weekend|month|year)s?{_S}(?:ago|back|earlier))",
    rf"(?P<hence>(?:in{_S}{_COUNT.replace('count', 'hence_count')}{_S}(?P<hence_unit>day|week|month|year)"
    rf"(?:s|s?['\u2019]s?)?{_S}time|{_COUNT.replace('count', 'from_count')}{_S}(?P<from_unit>day|week|month|year)s?"
    rf"{_S}from{_S}(?:now|today)))",
    rf"(?P<unit_named>(?P<which>this{_S}past|last|past|previous|this|next|coming){_S}"
    r"(?P<of_unit>weekend|week|month|year))",
    rf"(?P<weekday_named>(?P<weekday_which>this{_S}past|last|this|next|coming|on){_S}(?P<weekday>{_WEEKDAY}))",
    rf"(?P<season_named>(?P<season_which>this{_S}past|last|this|next){_S}(?P<season>spring|summer|fall|autumn|winter))",
    rf"(?P<iso>{_YEAR.format('iso_year')}-(?P<iso_month>[01][0-9])-(?P<iso_day>[0-3][0-9])(?![0-9-]))",
    rf"(?P<day_month>(?P<first_day>[0-3]?[0-9])(?:st|nd|rd|th)?(?:{_S}of)?{_S}(?P<month_after>{_MONTH})\b\.?"
    rf"(?:,?{_S}{_YEAR.format('year_after')})?)",
    rf"(?P<month_day>(?P<month_before>{_MONTH})\b\.?{_S}(?P<second_day>[0-3]?[0-9])(?:st|nd|rd|th)?(?![0-9:])"
    rf"(?:,?{_S}{_YEAR.format('year_before')})?)",
    rf"(?P<month_year>(?P<month_alone>{_MONTH})\b\.?(?:,|{_S}of)?{_S}{_YEAR.format('year_alone')})",
    rf"(?P<month_named>(?P<month_which>last|next|this|in|since|by|until|during|early|late){_S}"
    rf"(?P<month>{_MONTH})\b(?!\.?(?:,|{_S}of)?{_S}{_YEAR.format('another_year')}))",
    rf"(?P<in_year>(?:in|since|during|of){_S}{_YEAR.format('year')})",
)

EXPRESSION = re.compile(rf"(?<!\w)(?:{'|'.join(_ALTERNATIVES)})(?:['\u2019]s)?(?!\w)", re.IGNORECASE)

ABSOLUTE = frozenset({"iso", "month_year", "in_year"})
"""Expressions that mean the same whenever they are said; so do dates with a year."""

_CUE = re.compile(
    r"day|night|morning|afternoon|evening|tomorrow|week|month|year|ago|[0-9]{3}|spring|summer|fall|autumn|winter|"
    r"jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun",
    re.IGNORECASE,
)


def may_have_times(text: str) -> bool:
    """Whether `EXPRESSION` can match anywhere; most sentences have not one of its cues."""
    return _CUE.search(text) is not None


def is_vague(match: re.Match[str]) -> bool:
    """Whether a match counts in words that nobody counts by: a couple, a few, several."""
    counts = (match[name] or "" for name in ("count", "hence_count", "from_count"))
    return any(word in _VAGUE for count in counts for word in count.lower().split())


def days_of(match: re.Match[str], anchor: date | None) -> tuple[Days, bool] | None:
    """The days that a match of `EXPRESSION` means, and whether ``anchor``, the day it was said, was needed for that.

    None where it means no day: without the anchor that it needs, 30 February, or beyond the years 1 to 9998.
    """
    groups = {name: value.lower() for name, value in match.groupdict().items() if value is not None}
    kind = next(name for name in _RULES if name in groups)
    year = next((groups[name] for name in ("year_after", "year_before") if name in groups), None)
    relative = kind not in ABSOLUTE and year is None
    if relative and anchor is None:
        return None
    try:
        days = _RULES[kind](groups, anchor or date(2000, 1, 1))
    except (ValueError, OverflowError):
        return None
    return (days, relative) if days is not None else None


def _day(first: date) -> Days:
    return "day", first, first + timedelta(1)


def _week(inside: date) -> Days:
    monday = inside - timedelta(inside.weekday())
    return "week", monday, monday + timedelta(7)


def _weekend(inside: date) -> Days:
    saturday = inside - timedelta(inside.weekday()) + timedelta(5)
    return "weekend", saturday, saturday + timedelta(2)


def _month(year: int, month: int) -> Days:
    """The month counted from January of ``year``; ``month`` may be below 1 or above 12."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return "month", date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)


def _year(year: int) -> Days:
    return "year", date(year, 1, 1), date(year + 1, 1, 1)


def _season(year: int, name: str) -> Days:
    """The three months of a season (of the north); winter is that which begins in December of ``year``."""
    first = date(year, _SEASONS[name], 1)
    return "season", first, _month(year, _SEASONS[name] + 3)[1]


def _number(words: str) -> int:
    return int(words) if words.isdigit() else _COUNTS[next(word for word in reversed(words.split()) if word in _COUNTS)]


def _moved(unit: str, count: int, anchor: date) -> Days:
    """The day, week, weekend, month or year that lies ``count`` of them after the one of ``anchor``."""
    if unit == "day":
        return _day(anchor + timedelta(count))
    if unit == "week":
        return _week(anchor + timedelta(7 * count))
    if unit == "weekend":
        return _weekend(anchor + timedelta(7 * count))
    if unit == "month":
        return _month(anchor.year, anchor.month + count)
    return _year(anchor.year + count)


def _which(words: str) -> int:
    return _WHICH[words.rsplit(maxsplit=1)[-1]]


def _weekday(groups: Mapping[str, str], anchor: date) -> Days:
    day = _DAYS.index(groups["weekday"][:3])
    which = 0 if groups["weekday_which"] == "on" else _which(groups["weekday_which"])
    if which > 0 or groups["weekday_which"] == "this":
        return _day(anchor + timedelta((day - anchor.weekday()) % 7 or 7))
    return _day(anchor - timedelta((anchor.weekday() - day) % 7 or 7))


def _season_named(groups: Mapping[str, str], anchor: date) -> Days:
    """The last season of that name that is over, the next one that begins, or that of this year."""
    name, which = groups["season"], _which(groups["season_which"])
    year = anchor.year
    if which < 0:
        while _season(year, name)[2] > anchor:
            year -= 1
    elif which > 0:
        while _season(year, name)[1] <= anchor:
            year += 1
    elif name == "winter" and anchor.month < 3:
        year -= 1
    return _season(year, name)


def _number_of(month: str) -> int:
    return next(number for number, name in enumerate(MONTHS, 1) if name[:3].lower() == month[:3])


def _month_named(groups: Mapping[str, str], anchor: date) -> Days:
    month, which = _number_of(groups["month"]), groups["month_which"]
    year = anchor.year
    if which == "last" and month >= anchor.month:
        year -= 1
    if which == "next" and month <= anchor.month:
        year += 1
    return _month(year, month)


_RULES: dict[str, Callable[[Mapping[str, str], date], Days | None]] = {
    "before_yesterday": lambda groups, anchor: _day(anchor - timedelta(2)),
    "yesterday": lambda groups, anchor: _day(anchor - timedelta(1)),
    "today": lambda groups, anchor: _day(anchor),
    "after_tomorrow": lambda groups, anchor: _day(anchor + timedelta(2)),
    "tomorrow": lambda groups, anchor: _day(anchor + timedelta(1)),
    "ago": lambda groups, anchor: _moved(groups["unit"], -_number(groups["count"]), anchor),
    "hence": lambda groups, anchor: _moved(
        groups.get("hence_unit") or groups["from_unit"],
        _number(groups.get("hence_count") or groups["from_count"]),
        anchor,
    ),
    "unit_named": lambda groups, anchor: _moved(groups["of_unit"], _which(groups["which"]), anchor),
    "weekday_named": _weekday,
    "season_named": _season_named,
    "iso": lambda groups, anchor: _day(date(int(groups["iso_year"]), int(groups["iso_month"]), int(groups["iso_day"]))),
    "day_month": lambda groups, anchor: _day(
        date(int(groups.get("year_after", anchor.year)), _number_of(groups["month_after"]), int(groups["first_day"]))
    ),
    "month_day": lambda groups, anchor: _day(
        date(int(groups.get("year_before", anchor.year)), _number_of(groups["month_before"]), int(groups["second_day"]))
    ),
    "month_year": lambda groups, anchor: _month(int(groups["year_alone"]), _number_of(groups["month_alone"])),
    "month_named": _month_named,
    "in_year": lambda groups, anchor: _year(int(groups["year"])),
}
