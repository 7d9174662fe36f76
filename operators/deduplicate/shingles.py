"""Documents as sets of shingles: n-grams of words, as 64-bit hashes, straight from Arrow text.

A document is its set of word 5-grams (Broder, "On the resemblance and containment of documents", 1997) of the text in
NFC and lower case. So case, Unicode form, punctuation and white space do not count. In scripts that are written without
spaces every letter counts as a word, unless the tokenizer says otherwise. Almost every text is read as it stands; the
few that may change under NFC are normalised by Python first.

A document of fewer than n words has no shingles, so two short texts are the same only if they are equal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Hashes, Integers, Signatures
from mnemic.compiled import compiled
from operators.contracts import refuse
from operators.deduplicate.minhash import sketch
from operators.deduplicate.words import combine, read_words, tables

VERSION = 2
"""Of the numbers below: another tokenizer or another sketch is another version."""


_MARKS = 1024
"""Combining marks in a row that are put in order together, which costs the square of their number; nobody writes so."""


def normalise(text: str) -> str:
    """The form in which texts are compared: NFC, lower case, without a byte order mark."""
    pieces = _between_marks(text.removeprefix("\ufeff"))
    return "".join(unicodedata.normalize("NFC", piece) for piece in pieces).lower()


def _between_marks(text: str) -> Iterator[str]:
    """``text`` as it is, but cut wherever `_MARKS` combining marks have followed one another."""
    start, at = 0, _MARKS
    while at < len(text):
        first = last = at
        while first > start and at - first < _MARKS and unicodedata.combining(text[first - 1]):
            first -= 1
        while last < len(text) and last - first < _MARKS and unicodedata.combining(text[last]):
            last += 1
        if last - first == _MARKS:
            yield text[start:last]
            start = last
        at = last + _MARKS
    yield text[start:]


@dataclass(frozen=True)
class Shingler:
    """Shingles are of ``ngram`` words; ``unspaced`` scripts are cut into "characters", or not at all ("words")."""

    ngram: int = 5
    unspaced: str = "characters"

    def __post_init__(self) -> None:
        problems = []
        if self.ngram < 1:
            problems.append(f"A shingle needs an ngram of at least 1 word, but it is {self.ngram}; leave it out for 5.")
        if self.unspaced not in ("characters", "words"):
            problems.append(
                f'`unspaced` is "{self.unspaced}"; use "characters" to count every letter of a script without spaces '
                'as a word, or "words" to cut it at punctuation only.'
            )
        refuse(problems)

    @property
    def name(self) -> str:
        """The tokenizer in one line; hashes of two names are never compared."""
        return f"{self.ngram}-grams of NFC lower-case words, unspaced {self.unspaced}, version {VERSION}"

    def shingles(self, texts: pa.Array) -> tuple[Hashes, Integers]:
        """The n-grams of each text in reading order, with repeats: (uint64 [n], bounds int64 [texts + 1]).

        Those of text i are ``[bounds[i]:bounds[i + 1]]``.
        """
        return self._read(texts, False)

    def distinct(self, texts: pa.Array) -> list[Hashes]:
        """The set of n-grams of each text, uint64 [n], in the order of first occurrence."""
        hashes, bounds = self._read(texts, True)
        return [hashes[start:end] for start, end in pairwise(bounds.tolist())]

    def _read(self, texts: pa.Array, distinct: bool) -> tuple[Hashes, Integers]:
        data, offsets = buffers(texts)
        kernel_tables, alone = tables(), self.unspaced == "characters"
        hashes, bounds, checks = _shingles(data, offsets, kernel_tables, alone, False, self.ngram, distinct)
        unsure = np.flatnonzero(checks)
        if len(unsure) == 0:
            return hashes, bounds
        again = _normalised(texts, unsure)
        other, inner, _ = _shingles(*buffers(again), kernel_tables, alone, True, self.ngram, distinct)
        sizes = np.diff(bounds)
        sizes[unsure] = np.diff(inner)
        all_bounds = np.concatenate([[0], np.cumsum(sizes)])
        merged = np.empty(all_bounds[-1], np.uint64)
        sure = ~np.repeat(checks, sizes)
        merged[sure], merged[~sure] = hashes, other
        return merged, all_bounds

    def signatures(self, texts: pa.Array, components: int, seed: int) -> tuple[Hashes, Signatures]:
        """Hash of each whole text, uint64 [texts, 2], and its MinHash signature, uint32 [texts, components].

        The whole text is that in NFC and lower case with runs of white space as one space; punctuation counts.
        """
        forms = np.empty((len(texts), 2), np.uint64)
        signatures = np.empty((len(texts), components), np.uint32)
        checks = np.zeros(len(texts), np.bool_)
        settings = (tables(), self.unspaced == "characters")
        _sign(*buffers(texts), *settings, False, self.ngram, np.uint64(seed), forms, signatures, checks)
        unsure = np.flatnonzero(checks)
        if len(unsure):
            form, signature = np.empty((len(unsure), 2), np.uint64), np.empty((len(unsure), components), np.uint32)
            again = buffers(_normalised(texts, unsure))
            _sign(*again, *settings, True, self.ngram, np.uint64(seed), form, signature, checks)
            forms[unsure], signatures[unsure] = form, signature
        return forms, signatures


def buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], Integers]:
    """The bytes of an Arrow array of strings, uint8, not copied, and the offsets of its values, int64 [texts + 1]."""
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or data is None:
        return np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    every = np.frombuffer(offsets, width, texts.offset + len(texts) + 1)
    return np.frombuffer(data, np.uint8), every[texts.offset :].astype(np.int64)


def slices(texts: pa.Array, size: int = 1 << 20) -> Iterator[pa.Array]:
    """Slices of about ``size`` bytes, so that what is made of them stays small."""
    _, offsets = buffers(texts)
    start = 0
    while start < len(texts):
        end = max(start + 1, int(np.searchsorted(offsets, offsets[start] + size, "right")) - 1)
        yield texts.slice(start, end - start)
        start = end


def _normalised(texts: pa.Array, places: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array([normalise(text) for text in texts.take(pa.array(places)).to_pylist()], pa.large_string())


@compiled
def _shingles(
    data: Any, offsets: Any, tables: Any, alone: bool, checked: bool, n: int, distinct: bool
) -> tuple[Any, Any, Any]:
    texts = len(offsets) - 1
    shingles = np.empty((offsets[texts] - offsets[0]) // 2 + 2 * texts + 2, np.uint64)
    bounds = np.zeros(texts + 1, np.int64)
    checks = np.zeros(texts, np.bool_)
    words = np.empty(1024, np.uint64)
    table = np.zeros(1024, np.uint64)
    for text in range(texts):
        words, count, check, _ = read_words(data, offsets[text], offsets[text + 1], tables, alone, checked, words)
        checks[text] = check
        count, _ = combine(words, count, n)
        start = bounds[text]
        if distinct:
            while len(table) < 2 * count:
                table = np.zeros(2 * len(table), np.uint64)
            count = keep_distinct(words, count, table)
        shingles[start : start + count] = words[:count]
        bounds[text + 1] = start + count
    return shingles[: bounds[texts]].copy(), bounds, checks


@compiled
def keep_distinct(values: Any, count: int, table: Any) -> int:
    """Move the distinct ones of ``values[:count]`` to the front; ``table`` (zeros; a power of two) stays empty."""
    mask = np.uint64(len(table) - 1)
    distinct = 0
    for i in range(count):
        value = values[i]
        place = value & mask
        while table[place] != 0 and table[place] != value:
            place = (place + np.uint64(1)) & mask
        values[distinct] = value
        distinct += table[place] == 0
        table[place] = value
    if 4 * distinct > len(table):
        table[:] = 0
    else:
        for i in range(distinct):
            place = values[i] & mask
            while table[place] != 0:
                table[place] = 0
                place = (place + np.uint64(1)) & mask
    return distinct


@compiled
def _sign(
    data: Any,
    offsets: Any,
    tables: Any,
    alone: bool,
    checked: bool,
    n: int,
    seed: Any,
    forms: Any,
    signatures: Any,
    checks: Any,
) -> None:
    words = np.empty(1024, np.uint64)
    minima = np.empty(signatures.shape[1], np.uint64)
    for text in range(len(offsets) - 1):
        words, count, check, whole = read_words(data, offsets[text], offsets[text + 1], tables, alone, checked, words)
        if not checked:
            checks[text] = check
        count, every = combine(words, count, n)
        sketch(words, count, seed, minima, signatures[text])
        forms[text, 0], forms[text, 1] = whole, every
