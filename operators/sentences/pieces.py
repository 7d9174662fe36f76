"""The sentences of the texts of a batch: by the compiled rules, or by the regular expression where texts are few."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers
from mnemic.compiled import can_compile, is_compiled
from mnemic.sentence_ranges import sentence_ranges
from operators.sentences.breaks import cut_texts
from operators.sentences.characters import characters

KERNEL = "operators.sentences.breaks"

WORTH_COMPILING = 32 << 20
"""Bytes of text that the regular expression reads in the seconds that compiling the rules takes."""

Bytes = npt.NDArray[np.uint8]

Pieces = tuple[Integers, Integers, Integers]
"""How many sentences each text has, and their starts and ends: characters of their text. int64 each."""

Split = Callable[[Bytes, Integers, Integers], Pieces]
"""From texts whose UTF-8 is at ``data[begins:ends]``, int64 [n] each, to their sentences."""


class Splitter:
    """Cuts texts into sentences of at most ``longest`` characters.

    The compiled rules do it where they are cached, and from `WORTH_COMPILING` bytes on. Both ways give the same.
    """

    def __init__(self, longest: int) -> None:
        self._longest, self._read = longest, 0
        self._compiled = can_compile() and is_compiled(KERNEL)

    def __call__(self, data: Bytes, begins: Integers, ends: Integers) -> Pieces:
        self._read += int((ends - begins).sum())
        self._compiled = self._compiled or (can_compile() and self._read > WORTH_COMPILING)
        return (compiled_pieces if self._compiled else matched_pieces)(data, begins, ends, self._longest)


def compiled_pieces(data: Bytes, begins: Integers, ends: Integers, longest: int) -> Pieces:
    """By the compiled rules."""
    tables = characters()
    own = tables.kinds, tables.flags, tables.letters, tables.abbreviations
    return cut_texts(data, begins, ends, longest, *own)


def matched_pieces(data: Bytes, begins: Integers, ends: Integers, longest: int) -> Pieces:
    """By the regular expression."""
    counts, firsts, lasts = array("q"), array("q"), array("q")
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        before = len(firsts)
        for first, last in sentence_ranges(data[begin:end].tobytes().decode("utf-8", "surrogatepass"), longest):
            firsts.append(first)
            lasts.append(last)
        counts.append(len(firsts) - before)
    return np.frombuffer(counts, np.int64), np.frombuffer(firsts, np.int64), np.frombuffer(lasts, np.int64)
