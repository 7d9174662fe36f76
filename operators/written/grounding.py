"""Whether a sentence stands in its sources: its names, numbers and quotations all, and a share of its long words.

A grammar makes valid JSON, not truth: of 38 facts that a model of 135 million parameters wrote so, 5 stood in the turns
that they named. The sources are the cited units with the speakers of their pack, the days on which they were said, and
their relative times resolved (`mnemic.times`). A rule cannot tell a wrong sentence of the right words from a right one;
it finds what was invented.

Of the 593 facts that GPT wrote of LoCoMo's three conversations, half of the long words stand in the turns that they
name for 78 %, and for 1.7 % and 3.0 % in as many turns of the same speaker of another and of the same session; seven of
ten for 49, 0 and .5 % (LOG.md). Words count as the same with one stem or the same five letters at their beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from mnemic.times import dated, day_in_words, moments
from operators.written.when import When, read_when

LONG = 5
"""Letters of a long word, and of the beginning by which two of them are taken for the same."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+(?:[.,:]\d+)*")
_QUOTED = re.compile(r"[\"\u201c]([^\"\u201d]{3,200})[\"\u201d]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ENDINGS = "ations ation ments ment ingly edly ings ing ies ied ers ed ly es er s y e".split()  # noqa: SIM905
_NUMBERS = dict(
    zip("one two three four five six seven eight nine ten eleven twelve".split(), map(str, range(1, 13)), strict=True)  # noqa: SIM905
)
_COMMON = frozenset(
    """about above after again against although among because become before being below between could during either
    every everyone first having herself himself might myself never other others ought ourselves rather really shall
    should since still their theirs themselves there these thing things think those though through together toward
    under until using wants wanted where whether which while whose within without would yourself called currently
    expressed feels finds likes loves mentioned named plans planned says stated thinks""".split()  # noqa: SIM905
)
"""Long words that say nothing of a fact, or that everyone uses to report one."""


class Sources:
    """The words, numbers and times of the units that a note cites; ``speakers`` are others whose names it may use."""

    @classmethod
    def of_call(cls, call: Mapping[str, Any], numbers: Sequence[int]) -> Sources | str:
        """The units of ``call`` with these ``numbers``; as a phrase, which of them it was not asked about."""
        units = {unit["n"]: unit for unit in call["units"]}
        strangers = [number for number in numbers if number not in units]
        if strangers:
            return f"it cites unit {strangers[0]}, which was not asked about"
        return cls([units[number] for number in sorted({*numbers})], {unit["speaker"] for unit in call["units"]})

    def __init__(self, units: Sequence[Mapping[str, Any]], speakers: Iterable[str] = ()) -> None:
        self.units = units
        self._texts = [_folded(unit["text"]) for unit in units]
        self._days = [unit["time"].astimezone(UTC).date() for unit in units if unit["time"] is not None]
        self._moments = [
            (moment.first, moment.stop)
            for unit in units
            for moment in moments(unit["text"], None if unit["time"] is None else unit["time"].astimezone(UTC).date())
        ]
        self.words: set[str] = set()
        for text in (*_texts(units, [*self._days, *(first for first, _ in self._moments)]), *speakers):
            self.words |= _words(text)
        self._stems = {stem(word) for word in self.words} | {word[:LONG] for word in self.words if len(word) >= LONG}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The units as a row names its sources."""
        return [{name: unit[name] for name in ("event", "start", "end")} for unit in self.units]

    @property
    def said_at(self) -> datetime | None:
        """The latest time of the units."""
        return max((unit["time"] for unit in self.units if unit["time"] is not None), default=None)

    def _has(self, word: str) -> bool:
        return word in self.words or stem(word) in self._stems

    def grounded(self, text: str, least: float) -> tuple[float, str]:
        """The share of the long words of ``text`` that stand here, and what is missing, as a phrase; "" for nothing.

        ``least`` is the share that must stand here.
        """
        long = present = 0
        for sentence in _SENTENCE.split(text):
            for place, match in enumerate(_WORD.finditer(sentence)):
                word = match[0]
                folded = _bare(word)
                if word[0].isdigit():
                    if _number(word) not in self.words:
                        return 0.0, f"the number {word[:20]} is in none of its sources"
                elif word[0].isupper() and place and folded not in _PRONOUNS:
                    if not self._has(folded):
                        return 0.0, f"the name {word[:40]!r} is in none of its sources"
                elif len(folded) >= LONG and folded not in _COMMON:
                    long += 1
                    present += self._has(folded) or folded[:LONG] in self._stems
        for quoted in _QUOTED.findall(text):
            if not any(_folded(quoted) in one for one in self._texts):
                return 0.0, "a quotation is in none of its sources"
        share = present / long if long else 1.0
        return share, "" if share >= least else f"{long - present} of its {long} long words are in none of its sources"

    def names(self, phrase: str) -> bool:
        """Whether all words of a subject or a value stand here."""
        words = [word for word in _words(phrase) if word not in _SMALL]
        return bool(words) and all(map(self._has, words))

    def time_of(self, text: str | None) -> When | str | None:
        """The time that something written names, None for none; as a phrase, why it is no time of these units."""
        if not text:
            return None
        when = read_when(text)
        if when is None:
            return f"its time {text[:40]!r} is none"
        return when if self.speaks_of(when) else f"its time {text[:40]!r} is in none of its sources"

    def speaks_of(self, when: When) -> bool:
        """Whether a time meets one that a source names, or the day on which a source was said."""
        first, stop = when.start.date(), _upper_day(when.stop)
        spans = [*self._moments, *((day, day + timedelta(1)) for day in self._days)]
        return any(first < end and begin < stop for begin, end in spans)


def _upper_day(stop: datetime) -> date:
    """The day after the last that an interval which ends before ``stop`` touches."""
    return (stop - timedelta(microseconds=1)).date() + timedelta(1)


_SMALL = frozenset("a an the of and his her their its my our your in on at to for with".split())  # noqa: SIM905
_PRONOUNS = frozenset(["i", "i'm", "i've", "i'd", "i'll"])


def _texts(units: Iterable[Mapping[str, Any]], days: Iterable[date]) -> Iterator[str]:
    for unit in units:
        yield unit["speaker"]
        yield unit["text"]
        if unit["time"] is not None:
            yield dated(unit["text"], unit["time"].astimezone(UTC).date())
    for day in days:
        yield f"{day_in_words(day)} {day.isoformat()} {day:%A}"


def _words(text: str) -> set[str]:
    words = set()
    for word in _WORD.findall(text):
        words.add(_number(word) if word[0].isdigit() else _bare(word))
        if word.lower() in _NUMBERS:
            words.add(_NUMBERS[word.lower()])
        if word[0].isdigit():  # 2023-05-07, 10:30 and 1,000 are known by their parts too
            words |= {part.lstrip("0") or "0" for part in re.split(r"[.,:]", word)}
    return words


def _bare(word: str) -> str:
    """A word in small letters without a possessive."""
    return word.casefold().replace("\u2019", "'").removesuffix("'s").removesuffix("'")


def _number(word: str) -> str:
    return word.replace(",", "").lstrip("0") or "0"


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """``word`` without an English ending, where four letters stay."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word
