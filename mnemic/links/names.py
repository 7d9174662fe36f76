"""Names in a text: a dictionary of names, and the places where a text writes one of them.

A text is cut into words, runs of letters and digits; a letter of a script without spaces is a word. Names are compared
without case. The longest name that begins at a word is taken, and the search goes on behind it, so a text of n words
takes time in proportion to n, whatever the names are.

A name of one word that begins with a capital must have one in the text too: "Home" is not named by "at home". Function
words, and names of fewer than `SHORTEST` letters, are no names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from mnemic.words import UNSPACED_RANGES

LONGEST = 12
"""Words of a name, at most: no sentence names a longer title in full."""

SHORTEST = 3
"""Letters of a name of one word, at least. Of scripts without spaces two letters are two words, and suffice."""

_YEAR = 4
"""Digits of a number that is a name."""

CHARACTERS = 200
"""Of a title, at most, that are read for a name."""

_ASIDE = re.compile(r"\([^()]{0,200}\)")
"""What a title has in brackets to tell it from others: "Mercury (planet)"."""

_FUNCTION_WORDS = frozenset(
    re.findall(
        "[a-z]+",
        "a about above after again against all also although an and another any are as at be because been before "
        "being below between both but by can could did do does during each either every few first for from had "
        "has have he her here hers him his how however i if in into is it its just many may me might more most "
        "much must my neither no nor not now of off often on once one only or other our out over own perhaps same "
        "she should since so some such than that the their them then there these they this those though through "
        "to too two under until up upon us very was we were what when where whether which while who whom whose "
        "why will with within without would yes yet you your",
    )
)
"""Of English: as titles of one word they name nothing."""


def words(text: str) -> list[str]:
    """The words of ``text`` as they are written, in order."""
    return _word().findall(text)


@functools.cache
def _word() -> re.Pattern[str]:
    """Compiled where a text is read, since that takes 3 ms."""
    return re.compile(rf"[{UNSPACED_RANGES}]|[^\W{UNSPACED_RANGES}]+")


def name_of(title: str) -> str:
    """The name that texts give to what is called ``title``: its words without what stands in brackets; "" for none."""
    title = title[:CHARACTERS]
    written = words(_ASIDE.sub(" ", title)) or words(title)
    name = " ".join(written)
    return name if len(written) <= LONGEST and is_name(name.lower()) else ""


def is_name(name: str) -> bool:
    """Whether words in small letters, with a space between them, are a name and no function word, letter or number."""
    return len(name) >= SHORTEST and name not in _FUNCTION_WORDS and (not name.isdigit() or len(name) == _YEAR)


def without_function_words(written: list[str]) -> list[str]:
    """``written`` without the function words that it begins with."""
    first = next((place for place, word in enumerate(written) if word.lower() not in _FUNCTION_WORDS), len(written))
    return written[first:]


def entity_name(phrase: str) -> str:
    """The name of the entity that a ``phrase`` stands for, as a text that mentions it gives it; "" where it is none."""
    written = without_function_words(words(phrase))
    name = " ".join(written).lower()
    return name if len(written) <= LONGEST and is_name(name) else ""


class Lexicon:
    """``written`` names, each with a number from 0; equal ones but for their case have the same number."""

    def __init__(self, written: Iterable[str]) -> None:
        self.numbers: dict[str, int] = {}
        self._openings: dict[str, int] = {}
        self._capital = set[str]()
        small = set[str]()
        for name in written:
            folded = name.lower()
            first, _, rest = folded.partition(" ")
            self.numbers.setdefault(folded, len(self.numbers))
            self._openings[first] = max(self._openings.get(first, 1), 1 + len(rest.split()))
            if not rest:
                (self._capital if name[0] != folded[0] else small).add(folded)
        self._capital -= small

    def __len__(self) -> int:
        return len(self.numbers)

    def find(self, text: str, *, capitals: bool = True) -> Iterator[tuple[int, str]]:
        """(number, name as the text has it) of the names in ``text``, in order, each place once.

        Without ``capitals`` case says nothing, as in questions, which people type in small letters.
        """
        written = words(text)
        folded = [word.lower() for word in written]
        openings, behind = self._openings, 0
        for place in [place for place, word in enumerate(folded) if word in openings]:
            if place < behind:
                continue
            for length in range(min(openings[folded[place]], len(folded) - place), 0, -1):
                name = folded[place] if length == 1 else " ".join(folded[place : place + length])
                number = self.numbers.get(name)
                if number is None or (capitals and name in self._capital and written[place][0] == folded[place][0]):
                    continue
                yield number, " ".join(written[place : place + length])
                behind = place + length
                break
