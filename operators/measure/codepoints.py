"""What the statistics know of every code point, and how texts become code points and hashes.

One table of 16-bit entries, made once a process from Python's character database and the sets of
`operators/measure/tables/characters.json`, which say whose they are.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.compiled import compiled, inlined
from mnemic.splitmix import finalised_in_kernels
from mnemic.statistics import SCRIPTS
from mnemic.words import UNSPACED

SPACE, ALPHA, ALNUM, PUNCTUATION, TERMINAL, BREAK, SPECIAL, MARKS, SENTENCE, WORD, ALONE = (
    1 << bit for bit in range(11)
)
"""`str.isspace`, `isalpha`, `isalnum`; datatrove's punctuation and ends of lines; `str.splitlines`; data-juicer's
special characters; categories P*; the ends of sentences of spaCy's sentencizer; letters, digits and marks; letters of
scripts without spaces."""

SCRIPT = 11
"""Three bits from here on: the number of the script in `mnemic.statistics.SCRIPTS`, 0 for all that have spaces."""

DIGIT = 1 << 14
"""Decimal digits, as regular expressions have them."""

_RANGES = {
    "th": ((0x0E01, 0x0E7F),),
    "lo": ((0x0E81, 0x0EFF),),
    "my": ((0x1000, 0x109F), (0xA9E0, 0xA9FE), (0xAA60, 0xAA7F)),
    "km": ((0x1780, 0x17FF),),
    "ii": ((0xA000, 0xA48C),),
    "ja": ((0x3041, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F)),
}

_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd
ONE = np.uint64(1)


def members(ranges: str) -> list[int]:
    """The code points of hexadecimal ranges such as "21-2f,3a"."""
    numbers: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first, 16), int(last or first, 16) + 1)
    return numbers


@functools.cache
def classes() -> NDArray[np.uint16]:
    """The table, uint16 [0x110000]."""
    table = np.zeros(0x110000, np.uint16)
    stated = json.loads((Path(__file__).parent / "tables" / "characters.json").read_text())
    for name, flag in (
        ("punctuation", PUNCTUATION),
        ("terminal", TERMINAL),
        ("special", SPECIAL),
        ("sentence", SENTENCE),
    ):
        table[members(stated[name])] |= flag
    for code in range(0x110000):
        if 0x323B0 <= code < 0xE0000 or code >= 0xE0200:  # unassigned planes
            continue
        character = chr(code)
        category = unicodedata.category(character)[0]
        flags = (
            SPACE * character.isspace()
            | ALPHA * character.isalpha()
            | ALNUM * character.isalnum()
            | MARKS * (category == "P")
            | WORD * (category in "LNM")
            | DIGIT * character.isdecimal()
        )
        if flags:
            table[code] |= flags
    table[[ord(character) for character in _BREAKS]] |= BREAK
    _set_scripts(table)
    return table


def _set_scripts(table: NDArray[np.uint16]) -> None:
    for first, last in UNSPACED:
        codes = np.arange(first, last + 1)
        codes = codes[(table[codes] & WORD) != 0]
        table[codes] |= np.uint16(ALONE | SCRIPTS.index("zh") << SCRIPT)
    cleared = np.uint16(0xFFFF ^ (0x7 << SCRIPT))
    for language, ranges in _RANGES.items():
        for first, last in ranges:
            codes = np.arange(first, last + 1)
            codes = codes[(table[codes] & ALONE) != 0]
            table[codes] = (table[codes] & cleared) | np.uint16(SCRIPTS.index(language) << SCRIPT)


@inlined
def mix(value: Any) -> Any:
    """All 64 bits of ``value`` spread over 64 bits."""
    return finalised_in_kernels(value)


@compiled
def decode(data: Any, begin: int, end: int, codes: Any) -> int:
    """Write the code points of the UTF-8 ``data[begin:end]`` into ``codes`` int32, and return how many they are."""
    count, at = 0, begin
    while at < end:
        lead = int(data[at])
        if lead < 128:
            code = lead
            at += 1
        elif lead < 0xE0:
            code = (lead & 31) << 6 | int(data[at + 1]) & 63
            at += 2
        elif lead < 0xF0:
            code = (lead & 15) << 12 | (int(data[at + 1]) & 63) << 6 | int(data[at + 2]) & 63
            at += 3
        else:
            code = (lead & 7) << 18 | (int(data[at + 1]) & 63) << 12
            code |= (int(data[at + 2]) & 63) << 6 | int(data[at + 3]) & 63
            at += 4
        codes[count] = code
        count += 1
    return count


@compiled
def polynomial(codes: Any, begin: int, end: int) -> Any:
    """The polynomial over ``codes[begin:end]`` by which hashes of joined words are made of theirs, uint64."""
    value = np.uint64(0)
    for at in range(begin, end):
        value = value * BASE + mix(np.uint64(codes[at]) + ONE)
    return value


@compiled
def power(exponent: int) -> Any:
    """BASE to the power of ``exponent``, modulo 2**64."""
    result, factor, left = np.uint64(1), BASE, exponent
    while left > 0:
        if left & 1:
            result = result * factor
        factor = factor * factor
        left >>= 1
    return result
