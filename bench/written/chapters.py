"""Made chapters whose cues are names, places and dates: the words of the whole document decide which is meant.

A chapter is 22 sentences of WikiText-2's validation text, and among them four that say who was where on which day for
what. Dates, places, people and occasions are drawn from small sets, so that each stands in many chapters and a pair or
three of them in few. A question names two or three of a chapter's four; every chapter that has all of these is right.

Expected on machine C of LOG.md: the search finds 49.4 and 83.1 % at 1 and 3, BM25 32.8 and 66.8, reciprocal ranks 21.2
and 38.2, vectors 4.8 and 13.5. A question may have several right chapters, so all cannot be found at 1.
"""

from __future__ import annotations

import random
import re
import sys
from itertools import product

from bench import data
from bench.report import Row, main
from bench.written.passages import Passages
from bench.written.ranking import measure_set

CHAPTERS, QUESTIONS, SENTENCES = 196, 200, 22
_FIRST = ("Ada", "Ben", "Clara", "David", "Elena", "Felix")
_LAST = ("Miller", "Okafor", "Novak", "Tanaka", "Silva")
_PLACES = (
    *("Snug Harbor", "Bethpage Black", "Trinity Church", "Lincoln Center", "Hudson Yards", "Ellis Island"),
    *("Prospect Park", "Chelsea Market", "Grand Central", "Wall Street", "Coney Island", "Battery Park"),
    *("Madison Square", "Rockaway Beach", "Bryant Park", "Union Square", "Astoria Park", "Penn Station"),
)
_OCCASIONS = (
    *("photography workshop", "jazz concert", "chess tournament", "flower show", "carnival", "book launch"),
    *("charity run", "science fair", "dance recital", "film premiere", "poetry slam", "hackathon"),
    *("fashion show", "street parade", "art auction", "cooking class", "opera night", "magic show"),
)
_MONTHS = ("January", "March", "April", "June", "August", "September", "November")
_KINDS = ("date", "place", "person", "occasion")


def chapters() -> Passages:
    """The same in every run. Raises `bench.data.MissingData`."""
    draw = random.Random(0)
    text = data.path("wikitext-2").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if "=" not in line)
    sentences = [one for line in lines for one in re.split(r"(?<= \.)\s+", line) if 8 < len(one.split()) < 30]
    dates = [f"{draw.choice(_MONTHS)} {draw.randint(1, 28)}, {draw.randint(2024, 2026)}" for _ in range(25)]
    people = [f"{first} {last}" for first, last in product(_FIRST, _LAST)]
    facts, texts = [], []
    for _ in range(CHAPTERS):
        date, place, person, occasion = (draw.choice(some) for some in (dates, _PLACES, people, _OCCASIONS))
        body = draw.sample(sentences, SENTENCES)
        for sentence in (
            f"It was {date} when the evening began.",
            f"{person} walked slowly through {place}.",
            f"The {occasion} was about to start.",
            f"{person.split()[0]} smiled at the crowd of {place}.",
        ):
            body.insert(draw.randrange(len(body)), sentence)
        facts.append((date, place, person, occasion))
        texts.append(" ".join(body))
    questions = []
    for _ in range(QUESTIONS):
        cues = sorted(draw.sample(range(4), draw.choice((2, 2, 3))))
        meant = draw.choice(facts)
        phrase = ", ".join(f"{_KINDS[cue]} {meant[cue]}" for cue in cues)
        right = frozenset(number for number, fact in enumerate(facts) if all(fact[cue] == meant[cue] for cue in cues))
        questions.append((f"Recall the event with {phrase}. What else happened there?", right))
    return Passages("chapters", [""] * CHAPTERS, texts, questions)


def rows(quick: bool) -> list[Row]:
    """Recall at 1 and 3; nothing with ``quick``. Raises `bench.data.MissingData`."""
    return [] if quick else measure_set(chapters(), quick, (1, 3), "BM25")


if __name__ == "__main__":
    sys.exit(main("written.chapters", __doc__ or "", rows))
