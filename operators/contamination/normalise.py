"""Words as contamination compares them: small letters, digits as 0, without punctuation and without marks.

Every code point has a row of what it becomes: its letters in small and decomposed (NFD) without combining marks, a zero
for a digit, nothing for a mark, and a gap for all else. Each letter of a script without spaces is a word. One compiled
pass reads the UTF-8 as it stands, so that a word knows its characters in the original.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.arrays import Hashes
from mnemic.compiled import compiled
from mnemic.words import UNSPACED
from operators.deduplicate.shingles import buffers
from operators.measure.codepoints import BASE, ONE, decode, mix

GAP, MARK, LETTERS, ALONE = range(4)
"""What a code point is: the end of a word, nothing, a part of a word, a word of its own."""

_LAST = 0x32400
"""Code points from here on are unassigned, private, or tags."""


@functools.cache
def folding() -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """For each code point its kind, uint8, and where its row begins, int32 [n + 1]; the rows, int32."""
    kinds = np.zeros(_LAST, np.uint8)
    starts = np.zeros(_LAST + 1, np.int32)
    rows: list[int] = []
    for code in range(_LAST):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Mn":
            kinds[code] = MARK
        elif category[0] == "N":
            kinds[code] = LETTERS
            rows.append(48)
        elif category[0] == "L" or category == "Mc":
            decomposed = unicodedata.normalize("NFD", character.lower())
            row = [ord(one) for one in decomposed if unicodedata.category(one) != "Mn"]
            kinds[code] = LETTERS if row else MARK
            rows += row
        starts[code + 1] = len(rows)
    for first, last in UNSPACED:
        part = kinds[first : min(last + 1, _LAST)]
        part[part == LETTERS] = ALONE
    return kinds, starts, np.array(rows, np.int32)


@compiled
def read_words(data: Any, begin: int, end: int, tables: Any, codes: Any, hashes: Any, bounds: Any) -> int:
    """Hashes uint64 [n] of the words of ``data[begin:end]``, and their characters [begin, end) int32 [n, 2].

    Returns how many there are; the arrays have room for one of each character.
    """
    kinds, starts, rows = tables
    size = decode(data, begin, end, codes)
    count, value, letters, first = 0, np.uint64(0), 0, 0
    for at in range(size + 1):
        kind = GAP
        if at < size and codes[at] < kinds.shape[0]:
            kind = kinds[codes[at]]
        if (kind in (GAP, ALONE)) and letters:
            hashes[count] = mix(value + np.uint64(letters))
            bounds[count, 0], bounds[count, 1] = first, at
            count += 1
            value, letters = np.uint64(0), 0
        if kind in (LETTERS, ALONE):
            if not letters:
                first = at
            for place in range(starts[codes[at]], starts[codes[at] + 1]):
                value = value * BASE + mix(np.uint64(rows[place]) + ONE)
                letters += 1
        if kind == ALONE:
            hashes[count] = mix(value + np.uint64(letters))
            bounds[count, 0], bounds[count, 1] = first, at + 1
            count += 1
            value, letters = np.uint64(0), 0
    return count


@compiled
def grams(hashes: Any, count: int, size: int, out: Any) -> int:
    """Hashes of the n-grams of ``hashes[:count]`` into ``out`` uint64; returns how many there are."""
    total = max(count - size + 1, 0)
    for first in range(total):
        value = np.uint64(size)
        for place in range(first, first + size):
            value = value * BASE + hashes[place]
        out[first] = mix(value)
    return total


class Words:
    """Room for the words of one text after another."""

    def __init__(self) -> None:
        self._tables = folding()
        self._size = 0

    def of(self, texts: pa.Array) -> list[tuple[Hashes, NDArray[np.int32]]]:
        """Hashes uint64 [n] and characters int32 [n, 2] of the words of each text."""
        data, offsets = buffers(texts)
        longest = int(np.diff(offsets).max(initial=0)) + 1
        if longest > self._size:
            self._codes, self._hashes = np.empty(longest, np.int32), np.empty(longest, np.uint64)
            self._bounds, self._size = np.empty((longest, 2), np.int32), longest
        words = []
        for first, last in itertools.pairwise(offsets.tolist()):
            count = read_words(data, first, last, self._tables, self._codes, self._hashes, self._bounds)
            words.append((self._hashes[:count].copy(), self._bounds[:count].copy()))
        return words

    def grams(self, hashes: Hashes, size: int) -> Hashes:
        """Hashes of the n-grams of so many words, uint64."""
        out = np.empty(max(len(hashes) - size + 1, 0), np.uint64)
        grams(hashes, len(hashes), size, out)
        return out
