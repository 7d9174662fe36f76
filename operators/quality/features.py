"""The words of a text, and pairs of neighbours, as numbers below 2^20.

A word is a run of letters and digits of ASCII in small letters, and of other characters; each character of Chinese and
Japanese is a word. The hash is FNV-1a over bytes, mixed by the finaliser of splitmix64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers
from mnemic.compiled import compiled
from mnemic.splitmix import finalised_in_kernels
from operators.deduplicate.shingles import buffers

BITS = 20
"""Of the number of a feature."""

BYTES = 1 << 14
"""The first so many of a text are looked at."""

_PRIME, _BASIS = np.uint64(0x100000001B3), np.uint64(0xCBF29CE484222325)
_MASK = np.uint64((1 << BITS) - 1)


@compiled
def _add(word: Any, before: Any, pairs: bool, out: Any, count: int) -> int:
    """Write the feature of a word, and of the pair with the word ``before`` it."""
    out[count] = np.int64(finalised_in_kernels(word) & _MASK)
    count += 1
    if pairs:
        out[count] = np.int64(finalised_in_kernels(word ^ (before * _PRIME)) & _MASK)
        count += 1
    return count


@compiled
def extract(data: Any, offsets: Any, out: Any, ends: Any) -> int:
    """The features of the texts ``data[offsets]`` into ``out`` int32, those of text i before ``ends[i]``."""
    count = 0
    for text in range(len(offsets) - 1):
        at, last = offsets[text], min(offsets[text + 1], offsets[text] + BYTES)
        word, before, inside, pairs = _BASIS, _BASIS, False, False
        while at <= last:
            code = int(data[at]) if at < last else 32
            alone = 0xE3 <= code <= 0xE9 and at + 2 < last
            if 65 <= code <= 90:
                code |= 32
            if not alone and (97 <= code <= 122 or 48 <= code <= 57 or code > 127):
                word = (word ^ np.uint64(code)) * _PRIME
                inside = True
                at += 1
                continue
            if inside:
                count = _add(word, before, pairs, out, count)
                before, word, inside, pairs = word, _BASIS, False, True
            if alone:
                for place in range(3):
                    word = (word ^ np.uint64(data[at + place])) * _PRIME
                count = _add(word, before, pairs, out, count)
                before, word, pairs = word, _BASIS, True
                at += 3
            else:
                at += 1
        ends[text] = count
    return count


def features_of(texts: pa.Array) -> tuple[Any, Integers]:
    """The features of ``texts``, int32 [n], and int64 [texts] ends: those of text i stand before ``ends[i]``."""
    data, offsets = buffers(texts)
    looked_at = int(np.minimum(np.diff(offsets), BYTES).sum())
    out, ends = np.empty(looked_at + 2 * len(texts) + 2, np.int32), np.zeros(len(texts), np.int64)
    count = extract(data, offsets, out, ends)
    return out[:count].copy(), ends
