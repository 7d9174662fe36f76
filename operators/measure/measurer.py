"""Texts in, integer counts out: the compiled passes, and the room that they work in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.arrays import Flags, Integers
from mnemic.statistics import RAW
from operators.deduplicate.shingles import buffers
from operators.measure.chunks import add_chunks, look_up, stop_hashes
from operators.measure.codepoints import classes
from operators.measure.english import english_rules
from operators.measure.lines import CLOSED, OPEN, line_counts, phrases
from operators.measure.ngrams import room
from operators.measure.repetition import repetition_counts

_NUMBER = {"unicode": 0, "whitespace": 1, "datajuicer": 2}
"""The word rules that are compiled; "spacy-en" is `operators.measure.english`, once for each chunk."""

AT_ONCE = 1 << 21
"""Bytes of text that are measured together, or one document."""

LARGEST_TABLE = 1 << 22
"""Places of the table of chunks; half of them are used, then the table is emptied. 200 MB with their tokens."""

_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class TextCounts:
    """Counts int64 [n, len(RAW)], and the lines that C4's rules leave.

    ``spans`` int32 [lines, 2] are characters [begin, end), those of document i before ``ends[i]``; ``cited`` bool [n]
    tells documents with citations, for which spans do not hold.
    """

    counts: Integers
    spans: NDArray[np.int32]
    ends: Integers
    cited: Flags


class Measurer:
    """Measures texts by a word rule. It keeps a table of chunks, which is a cache: no result depends on it."""

    def __init__(self, rule: str) -> None:
        self._rule, self._by_three = rule, rule == "datajuicer"
        self._split: Callable[[str], list[int]] | None = english_rules().lengths if rule == "spacy-en" else None
        self._classes, self._stop = classes(), stop_hashes()
        self._lowered = lowered() if self._by_three else np.zeros(1, np.int32)
        self._stamp = 1
        self._longest = self._most = 0
        self._clear_table(1 << 16)

    def _clear_table(self, places: int) -> None:
        self._keys = np.zeros(places, np.uint64)
        self._entries = np.zeros(places, np.int32)
        self._next = 0
        self._first_token = np.zeros(places // 2 + 2, np.int32)
        self._tokens = tuple(np.zeros(places, dtype) for dtype in (np.int32, np.uint64, np.int32))

    def measure(
        self, texts: pa.Array, judged: bool = False, open_lines: bool = False, whole: bool = True
    ) -> TextCounts:
        """Counts of ``texts``, strings. Without ``whole`` n-grams, paragraphs and runs are not counted.

        For ``judged`` and ``open_lines`` see `operators.measure.lines.line_counts`.
        """
        data, offsets = buffers(texts)
        parts = [
            self._part(data, offsets[first : last + 1], judged, open_lines, whole) for first, last in _parts(offsets)
        ]
        if len(parts) == 1:
            return parts[0]
        none = TextCounts(
            np.empty((0, len(RAW)), np.int64), np.empty((0, 2), np.int32), _NOTHING, _NOTHING.astype(bool)
        )
        counts, spans, ends, cited = zip(
            *((part.counts, part.spans, part.ends, part.cited) for part in (none, *parts)), strict=True
        )
        shifts = np.cumsum([0, *(len(one) for one in spans)])
        moved = [one + shift for one, shift in zip(ends, shifts, strict=False)]
        return TextCounts(np.concatenate(counts), np.concatenate(spans), np.concatenate(moved), np.concatenate(cited))

    def _part(self, data: Any, offsets: Integers, judged: bool, open_lines: bool, whole: bool) -> TextCounts:
        documents, sizes = len(offsets) - 1, np.diff(offsets)
        self._make_room(int(sizes.max(initial=0)), int(offsets[-1] - offsets[0]) + documents)
        entries, begins, firsts = self._look_up(data, offsets)
        out = np.zeros((documents, len(RAW)), np.int64)
        spans = np.empty((len(begins) + documents + 1 if not judged else int(sizes.sum()) + documents, 2), np.int32)
        ends, cited = np.zeros(documents, np.int64), np.zeros(documents, np.bool_)
        reading = (data, offsets, self._classes, self._codes)
        chunks = (self._first_token, self._tokens)
        lines = self._lines(0 if judged else int(sizes.sum()))
        by_spaces, scanned = self._rule == "unicode", (*reading, entries, begins, firsts, *chunks, *phrases())
        rows, cuts = line_counts(*scanned, by_spaces, judged, open_lines, spans, ends, cited, lines, out)
        if judged:
            return TextCounts(out, spans[:rows].copy(), ends, cited)
        if self._stamp > 1 << 30:
            self._table[:] = 0
            self._stamp = 1
        stamp = np.uint64(self._stamp)
        self._stamp = int(
            repetition_counts(*reading, entries, firsts, *chunks, self._scratch, self._table, stamp, whole, out)
        )
        if cuts:
            _, text, bounds, places = lines
            sentences = self._part(text, bounds[: cuts + 1], True, False, False).counts[:, OPEN]
            np.add.at(out, (places[:cuts, 0], OPEN), sentences)
            np.add.at(out, (places[:cuts, 0], CLOSED), sentences * places[:cuts, 1])
        return TextCounts(out, spans[:rows].copy(), ends, cited)

    def _lines(self, total: int) -> tuple[Any, ...]:
        """Room for the lines of ``total`` bytes that have citations: six bytes and a line feed at least."""
        return (
            np.empty(self._longest + 2 if total else 0, np.int32),
            np.empty(total, np.uint8),
            np.zeros(total // 7 + 3, np.int64),
            np.empty((total // 7 + 2, 2), np.int64),
        )

    def _look_up(self, data: Any, offsets: Integers) -> tuple[Any, Any, Any]:
        """The entry and the beginning of every chunk, and where those of each document begin."""
        most = (int(offsets[-1] - offsets[0]) + 1) // 2 + len(offsets)
        entries, begins = np.empty(most, np.int32), np.empty(most, np.int32)
        firsts = np.zeros(len(offsets), np.int64)
        ends, keys = self._scratch[0], self._scratch[1]
        while True:
            fresh = np.empty((min(most, len(self._keys) // 2), 3), np.int64)
            count, chunks = look_up(
                data,
                offsets,
                self._classes,
                self._by_three,
                self._codes,
                self._keys,
                self._entries,
                self._next,
                keys,
                ends,
                fresh,
                entries,
                begins,
                firsts,
            )
            if count >= 0:
                break
            self._clear_table(max(min(len(self._keys) * 4, LARGEST_TABLE), room(most)))
        if count:
            self._add(data, offsets, fresh[:count])
        return entries[:chunks], begins[:chunks], firsts

    def _add(self, data: Any, offsets: Integers, fresh: Integers) -> None:
        """Divide chunks that the table has not seen, and put their tokens into it."""
        if self._split is not None:
            lengths, counts = self._lengths(data, offsets, fresh)
        else:
            lengths, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        last = int(self._first_token[self._next])
        most = last + (int(counts.sum()) if self._split is not None else int((fresh[:, 2] - fresh[:, 1] + 1).sum()))
        if most > len(self._tokens[0]):
            self._tokens = tuple(np.resize(one, max(most, 2 * len(one))) for one in self._tokens)
        longest = int((fresh[:, 2] - fresh[:, 1]).max())
        add_chunks(
            data,
            offsets,
            fresh,
            self._codes,
            self._classes,
            _NUMBER.get(self._rule, -1),
            lengths,
            counts,
            self._lowered,
            self._by_three,
            self._stop,
            np.empty((longest + 2, 3), np.int64),
            self._tokens,
            self._first_token,
            self._next,
        )
        self._next += len(fresh)

    def _lengths(self, data: Any, offsets: Integers, fresh: Integers) -> tuple[Integers, Integers]:
        """The lengths of the tokens of each fresh chunk, int64, and how many of them are each chunk's, int64."""
        assert self._split is not None
        lengths: list[int] = []
        counts: list[int] = []
        document, text = -1, ""
        for place, begin, end in fresh.tolist():
            if place != document:
                document, text = place, bytes(data[offsets[place] : offsets[place + 1]]).decode()
            tokens = self._split(text[begin:end])
            lengths += tokens
            counts.append(len(tokens))
        return np.array(lengths, np.int64), np.array(counts, np.int64)

    def _make_room(self, longest: int, total: int) -> None:
        """Room for documents of ``longest`` bytes."""
        if longest <= self._longest and self._longest:
            return
        self._longest = max(longest, 1 << 14)
        size = self._longest + 2
        words = (np.int32, np.uint64, np.uint64, np.uint64, *[np.int32] * 4)
        self._codes = np.zeros(size, np.int32)
        low_bits = np.zeros(room(size), np.uint8)
        self._scratch = (
            *(np.zeros(size, dtype) for dtype in (*words, np.uint64, np.int32, np.uint64)),
            low_bits,
        )
        self._table = np.zeros((room(size), 2), np.uint64)
        self._stamp = 1


def _parts(offsets: Integers) -> list[tuple[int, int]]:
    """Ranges of documents that are measured together."""
    parts, first = [], 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + AT_ONCE, "right")) - 1
        parts.append((first, max(last, first + 1)))
        first = parts[-1][1]
    return parts


@functools.cache
def lowered() -> NDArray[np.int32]:
    """Each code point in lower case, int32 [0x110000]; both small sigmas are one, and one that grows stays as it is."""
    table = np.arange(0x110000, dtype=np.int32)
    for code in range(0x1E944):  # no case beyond
        small = chr(code).lower()
        if len(small) == 1:
            table[code] = ord(small)
    table[0x3C2] = 0x3C3
    return table
