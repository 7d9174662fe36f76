"""How many words a text has, also where nobody puts spaces between them.

Budgets and lengths are in words, since people know what they are. A word is a run between spaces. In scripts that are
written without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar, Yi) every letter is a word, as in deduplication, so that a
limit of 200 words also limits a Chinese text.
"""

from __future__ import annotations

import functools
import itertools
import re

UNSPACED = (
    (0x0E01, 0x0E7F),  # Thai
    (0x0E81, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han iteration mark, closing mark and zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA48C),  # Yi
    (0xA9E0, 0xA9FE),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # Katakana of half width
    (0x1B000, 0x1B16F),  # Kana supplement and extensions
    (0x20000, 0x3FFFF),  # Han extensions
)
"""Ranges of scripts without spaces; of them, letters, marks and digits are words of their own."""

UNSPACED_RANGES = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
"""The same inside the brackets of a regular expression."""


@functools.cache
def _letter() -> re.Pattern[str]:
    """A letter that is a word; compiled where a text is counted, since that takes 3 ms."""
    return re.compile(rf"(?=[{UNSPACED_RANGES}])\w")


@functools.cache
def _word() -> re.Pattern[str]:
    return re.compile(rf"(?=[{UNSPACED_RANGES}])\w|(?:(?![{UNSPACED_RANGES}])\S)+")


def count_words(text: str) -> int:
    """The number of words of ``text``: runs between spaces, and every letter of a script without spaces."""
    if text.isascii() or not _letter().search(text):
        return len(text.split())
    return sum(1 for word in _word().finditer(text) if any(map(str.isalnum, word[0])))


def first_words(text: str, words: int) -> str:
    """``text`` until the end of its word number ``words``, with its lines, without white space around it."""
    if not text.isascii() and _letter().search(text):
        counted = (word.end() for word in _word().finditer(text) if any(map(str.isalnum, word[0])))
        end = next(itertools.islice(counted, words - 1, None), len(text))
        if _letter().search(text, 0, end):
            return text[:end].strip()
        text = text[:end]  # its punctuation between spaces counts, as in any such text
    ends = (word.end() for word in re.finditer(r"\S+", text))
    return text[: next(itertools.islice(ends, words - 1, None), len(text))].strip()
