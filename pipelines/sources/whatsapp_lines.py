"""Lines of a WhatsApp chat, in the many forms that phones write them, and in which order their dates are.

    12/31/23, 11:59 PM - Ada: Happy new year            Android; the space before PM may be U+202F
    [31.12.23, 23:59:07] Ada: Frohes neues Jahr         iPhone, with U+200E before the line or the text
    [31.12.2023 klo 23.59.07] Ada: Hyvää uutta vuotta   words between date and time
    2023/12/31 下午11:59 - 安娜: 新年快樂                half of the day before the time

The order of day, month and year is told from all lines: a number above 12 is no month, and time does not run backwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Characters without width that phones write for the direction of text."""

_SPACES = str.maketrans(dict.fromkeys("\u00a0\u202f\u2009\u2007", " "))
_MORNING = ("am", "vorm", "上午", "오전", "午前", "ص", "πμ", "öö", "sa", "पूर्वाह्न", "de", "ก่อนเที่ยง")
_EVENING = ("pm", "nachm", "下午", "오후", "午後", "م", "μμ", "ös", "ch", "अपराह्न", "du", "หลังเที่ยง")
_HALVES = {word: half for half, words in ((0, _MORNING), (12, _EVENING)) for word in words}
_HALF = "|".join((r"[ap]\.? ?m\.?", r"[πμ]\.? ?μ\.?", *(w for w in _HALVES if w not in ("am", "pm", "πμ", "μμ"))))
_LINE = re.compile(
    rf"[{MARKS}]*(?P<open>\[)?[{MARKS}]*"
    r"(?P<first>\d{1,4})(?P<mark>[-/.]) ?(?P<second>\d{1,2})[-/.] ?(?P<third>\d{1,4})[,.،]{0,2}"
    rf"(?: (?:(?P<before>{_HALF})\.? ?|[^\W\d_]{{1,6}} (?=\d))?)? ?"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<seconds>\d{2}))?"
    rf"(?: ?(?P<after>{_HALF})\.?)?"
    rf"(?(open)[{MARKS}]*\][{MARKS}]* |[{MARKS}]* [-–] )",
    re.IGNORECASE,
)
_LONGEST_STAMP = 60

ORDERS = ("day-first", "month-first", "year-first")
TIE = (
    "Its dates can be read with the day first and with the month first, and nothing in the file says which; set `dates:"
    " day-first` or `dates: month-first`."
)


@dataclass(frozen=True)
class Stamp:
    """When a message was sent, as its line says it: three numbers of the date, and the time. ``end`` is behind it."""

    numbers: tuple[int, int, int]
    mark: str
    time: tuple[int, int, int]
    end: int


def read_stamp(line: str) -> Stamp | None:
    """The stamp with which ``line`` begins; None where it goes on with the message of the line before."""
    if not line or not (line[0].isdigit() or line[0] == "[" or line[0] in MARKS):
        return None
    head = line[:_LONGEST_STAMP].translate(_SPACES)
    match = _LINE.match(head)
    if match is None:
        return None
    hour = int(match["hour"])
    if half := (match["before"] or match["after"]):
        later = _HALVES.get(re.sub(r"[. ]", "", half.lower()))
        if later is None or not 0 <= hour <= 12:
            return None
        hour = hour % 12 + later
    numbers = (int(match["first"]), int(match["second"]), int(match["third"]))
    return Stamp(numbers, match["mark"], (hour, int(match["minute"]), int(match["seconds"] or 0)), match.end())


def moment(stamp: Stamp, order: str, zone: tzinfo) -> datetime | None:
    """The time, in UTC, of a stamp in an order of its date; None for a day or hour that there is not."""
    first, second, third = stamp.numbers
    day, month, year = {
        "day-first": (first, second, third),
        "month-first": (second, first, third),
        "year-first": (third, second, first),
    }[order]
    if 99 < year < 1000 or day > 31 or month > 12:
        return None
    try:
        time = datetime(year if year > 99 else 2000 + year, month, day, *stamp.time, tzinfo=zone)
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@dataclass
class DateOrder:
    """What the lines of a file say of the order of their dates."""

    lines: int = 0
    dotted: int = 0
    impossible: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORDERS, 0))
    backwards: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORDERS, 0))
    differ: bool = False
    _last: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, stamp: Stamp) -> None:
        """Count a line."""
        self.lines += 1
        self.dotted += stamp.mark == "."
        first, second, third = stamp.numbers
        four = first > 99, third > 99
        dates = {
            "day-first": None if four[0] or not (1 <= first <= 31 and 1 <= second <= 12) else (third, second, first),
            "month-first": None if four[0] or not (1 <= second <= 31 and 1 <= first <= 12) else (third, first, second),
            "year-first": None if four[1] or not (1 <= third <= 31 and 1 <= second <= 12) else (first, second, third),
        }
        self.differ |= dates["day-first"] != dates["month-first"]
        for order, date in dates.items():
            if date is None:
                self.impossible[order] += 1
                continue
            self.backwards[order] += date < self._last.get(order, date)
            self._last[order] = date

    def decide(self) -> str:
        """The order; "" where nothing decides.

        A few lines of many may be wrong in the right order: one in ten, or one. Years stand first where four digits
        say so, or where no other order will do.
        """
        most = max(1, self.lines // 10)
        fitting = [order for order in ORDERS if self.impossible[order] <= most]
        fewest = min(self.impossible.values())
        if fewest == 0 and len(fitting) > 1:
            fitting = [order for order in fitting if self.impossible[order] == 0] or fitting
        elif len(fitting) > 1:
            fitting = [order for order in fitting if self.impossible[order] == fewest]
        if "year-first" in fitting and len(fitting) > 1:
            fitting.remove("year-first")  # 01-02-03: no phone writes years of two digits first
        if len(fitting) < 2:
            return fitting[0] if fitting else ""
        if not self.differ:
            return "day-first"
        day, month = self.backwards["day-first"], self.backwards["month-first"]
        if day != month and 10 * min(day, month) <= max(day, month):
            return "day-first" if day < month else "month-first"
        return "day-first" if self.dotted * 10 >= self.lines * 9 else ""


def decide(stamps: Iterable[Stamp]) -> str:
    """The order of the dates of these stamps; "" where nothing decides."""
    order = DateOrder()
    for stamp in stamps:
        order.add(stamp)
    return order.decide()
