"""The properties of code points for deduplication: lower case, class, and whether normalisation may be needed.

One table of 64-bit entries, made once a process from Python's character database:

* bits 0-20: the code point in lower case,
* bits 21-28: its canonical combining class,
* `WORD`: ``\\w`` matches it; `SPACE`: ``str.split`` cuts at it; `ALONE`: a letter of a script that is written without
  spaces (Han, Kana, Thai, Lao, Khmer, Myanmar, Yi); each is a word of its own where that is asked for,
* `CHECK`: the text may change under NFC (quick check "no" or "maybe", Unicode Standard Annex 15, section 9) or under
  ``str.lower`` in a way that one code point alone does not tell (U+0130 grows, the form of sigma depends on its place).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from mnemic.words import UNSPACED

CLASS_SHIFT = 21
WORD, SPACE, CHECK, ALONE = (1 << bit for bit in range(29, 33))


_SIMPLE = re.compile("[\u3400-\u9fff\uac00-\ud7a3\ue000-\uf8ff\U00020000-\U0002f7ff\U0002fa20-\U0010ffff]+")
"""Code points without case, combining class or canonical decomposition that is not algorithmic."""


@cache
def code_points() -> npt.NDArray[np.uint64]:
    """The table, uint64[0x110000]; lone surrogates are no word characters."""
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    table = np.arange(len(every), dtype=np.uint64)
    for match in re.finditer(r"\w+", every):
        table[match.start() : match.end()] |= np.uint64(WORD)
    for match in re.finditer(r"\s", every):
        table[match.start()] |= np.uint64(SPACE)
    for start, end in UNSPACED:
        for code in range(start, end + 1):
            if unicodedata.category(every[code])[0] in "LMN":
                table[code] |= np.uint64(ALONE)
    seconds = {0x1161 + k for k in range(21)} | {0x11A8 + k for k in range(27)}  # of Hangul syllables
    for character in _SIMPLE.sub("", every):
        code, lower = ord(character), character.lower()
        if len(lower) > 1 or character == "\u03a3":
            table[code] |= np.uint64(CHECK)
        elif lower != character:
            table[code] ^= np.uint64(code ^ ord(lower))
        combining = unicodedata.combining(character)
        table[code] |= np.uint64(combining << CLASS_SHIFT)
        parts = unicodedata.decomposition(character)
        if parts and parts[0] != "<":
            if unicodedata.normalize("NFC", character) != character:
                table[code] |= np.uint64(CHECK)
            else:
                seconds.add(int(parts.split()[1], 16))
    for code in seconds:
        table[code] |= np.uint64(CHECK)
    return table
