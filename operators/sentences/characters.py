"""What the compiled rules know of every character: the sets of `mnemic.sentence_ranges`, as flags of a kind.

A kind is a byte, so that a text is one byte a character, whatever its script. A character of ASCII is of its own kind,
and so is a mark that ends sentences: rules compare those with one another. All others of the same flags are one.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemic import sentence_ranges as rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemic.arrays import Integers

SETS = {
    "SPACE": r"\s",
    "WORD": r"\w",
    "DIGIT": r"\d",
    "STOP": f"[{rules.STOPS}]",
    "CLOSER": f"[{rules.CLOSERS}]",
    "OPENER": f"[{rules.OPENERS}]",
    "QUOTE": f"[{rules.QUOTES}]",
    "BEFORE_WORD": f"[{rules.BEFORE_WORDS}]",
    "BULLET": f"[{rules.BULLETS}]",
    "PROMPT": "[>.]",
    "FENCE": "[`~]",
    "FIELD": "[:@]",
    "UNDERLINE": f"[{rules.UNDERLINES}]",
    "WIDE": f"[{rules.WIDE}]",
    "WIDE_STOP": rules.WIDE_STOP,
    "WIDE_CLOSER": f"[{rules.WIDE_CLOSERS}]",
    "WIDE_DIGIT": f"[{rules.WIDE_DIGITS}]",
    "WIDE_LETTER": f"[{rules.WIDE_LETTERS}]",
    "MARK": f"[{rules.MARKS}]",
    "MARK_CLOSER": f"[{rules.MARK_CLOSERS}]",
    "WORD_SPACE": rules.WORD_SPACE,
    "URDU_STOP": rules.URDU_STOP,
    "BREAK": rf"[\n{rules.STOPS}{rules.WIDE}{rules.WIDE_STOP}{rules.MARKS}{rules.WORD_SPACE}{rules.URDU_STOP}]",
}
"""Flag -> its characters; `BREAK` are those that a rule begins with, but for the rules of whole lines."""

FLAGS = {name: np.uint32(1 << bit) for bit, name in enumerate([*SETS, "CAPITAL", "INITIAL"])}
"""Flag -> its bit. `CAPITAL` is a letter that begins a sentence, `INITIAL` a word by itself that a stop abbreviates."""

LAST = 0x3FFFF
"""Of the table. None above is of a set, and neither is this one."""

_ASCII = 128

LETTERS = ".abcdefghijklmnopqrstuvwxyz"
"""Of abbreviations; each is a digit of a number of base 32, and 0 is none."""


@dataclass(frozen=True)
class Characters:
    """``kinds``: uint8 [LAST + 1]; ``flags``: uint32 [256], and ``letters``: int64 [256], of each kind.

    ``abbreviations``: int64 [n], each word w, a number of base 32, at w modulo n; -1 where there is none.
    """

    kinds: NDArray[np.uint8]
    flags: NDArray[np.uint32]
    letters: Integers
    abbreviations: Integers


@functools.cache
def characters() -> Characters:
    """The tables, made once a process from Python's character database."""
    every = "".join(map(chr, range(LAST + 1)))
    flags = np.zeros(len(every), np.uint32)
    for name, pattern in SETS.items():
        for match in re.finditer(f"(?:{pattern})+", every):
            flags[match.start() : match.end()] |= FLAGS[name]
    letters = np.zeros(len(every), np.int64)
    for match in re.finditer(r"[\w.]", every):
        character, code = match[0], match.start()
        lower = character.lower()
        if character.isalpha() and not character.islower():
            flags[code] |= FLAGS["CAPITAL"]
        if len(lower) == 1:
            letters[code] = LETTERS.find(lower) + 1
            if lower.isalpha() and lower != "i":
                flags[code] |= FLAGS["INITIAL"]
    own = np.where(flags & FLAGS["MARK"] != 0, np.arange(len(every)), 0)
    alike = flags + (letters << 32) + (own << 40)
    _, firsts, numbers = np.unique(alike[_ASCII:], return_index=True, return_inverse=True)
    firsts = np.concatenate([np.arange(_ASCII), firsts + _ASCII])
    kinds = np.concatenate([np.arange(_ASCII), numbers + _ASCII])
    rest = (0, 256 - len(firsts))
    return Characters(
        kinds.astype(np.uint8), np.pad(flags[firsts], rest), np.pad(letters[firsts], rest), _abbreviations()
    )


def _abbreviations() -> Integers:
    numbers = np.array([number_of(word) for word in sorted(rules.ABBREVIATIONS)])
    size = next(n for n in itertools.count(len(numbers)) if len(np.unique(numbers % n)) == len(numbers))
    table = np.full(size, -1, np.int64)
    table[numbers % size] = numbers
    return table


def number_of(word: str) -> int:
    """A ``word`` of `LETTERS` as a number of base 32."""
    return functools.reduce(lambda number, letter: number << 5 | LETTERS.index(letter) + 1, word, 0)
