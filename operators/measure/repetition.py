"""Counts of words and of what repeats: paragraphs, lines, n-grams of words and of characters, by Gopher's definitions.

Gopher (Rae et al., arXiv 2112.11446, table A1) as datatrove counts it; n-grams are `operators.measure.ngrams`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled, inlined
from mnemic.statistics import PLACE
from operators.measure.chunks import APART, LETTER, PLAIN, STOP, SYMBOL
from operators.measure.codepoints import BASE, ONE, SPACE, TERMINAL, decode, mix
from operators.measure.ngrams import SPREAD, gram_counts, is_new, raised, room, ten_gram_counts

WORDS, CHUNKS, MEDIAN = PLACE["words"], PLACE["chunks"], PLACE["double_median"]
PLAIN_WORDS, PLAIN_CHARACTERS = PLACE["plain_words"], PLACE["plain_characters"]
ALPHA_WORDS, SYMBOL_WORDS = PLACE["alpha_words"], PLACE["symbol_words"]
STOP_WORDS, STOP_USES = PLACE["stop_words"], PLACE["stop_word_uses"]
PARAGRAPHS, RUNS, FULL_LINES = PLACE["paragraphs"], PLACE["runs"], PLACE["full_lines"]
ENDED, SHORT, REPEATED_LINES = PLACE["ended_lines"], PLACE["short_lines"], PLACE["repeated_line_characters"]
SHORT_LINE = 30


@inlined
def range_hash(prefix: Any, begin: int, end: int) -> Any:
    """A hash of the code points [begin, end), from the ``prefix`` uint64 of `prefix_sums`."""
    return mix(prefix[end] - prefix[begin] * raised(end - begin) + np.uint64(end - begin))


@compiled
def prefix_sums(codes: Any, size: int, prefix: Any) -> int:
    """Polynomials over the first code points into ``prefix`` uint64 [size + 1]; returns the number of line feeds."""
    value, newlines = np.uint64(0), 0
    prefix[0] = value
    for at in range(size):
        value = value * BASE + (np.uint64(codes[at]) + ONE) * SPREAD
        prefix[at + 1] = value
        newlines += 1 if codes[at] == 10 else 0
    return newlines


@compiled
def word_counts(
    first: int,
    last: int,
    entries: Any,
    first_token: Any,
    tokens: Any,
    lengths: Any,
    hashes: Any,
    histogram: Any,
    row: Any,
) -> int:
    """Counts of the words of the chunks ``first`` to ``last``; writes ``lengths`` and ``hashes``, returns how many.

    ``histogram`` int64 [longest + 1] is zero, and is left so.
    """
    token_lengths, token_hashes, token_flags = tokens
    words, plain, plain_characters, alpha, symbol, uses, which, longest = 0, 0, 0, 0, 0, 0, 0, 0
    for chunk in range(first, last):
        entry = entries[chunk]
        for token in range(first_token[entry], first_token[entry + 1]):
            flag = token_flags[token]
            if flag & APART:
                continue
            size = token_lengths[token]
            lengths[words], hashes[words] = size, token_hashes[token]
            words += 1
            histogram[size] += 1
            longest = max(longest, size)
            if flag & PLAIN:
                plain += 1
                plain_characters += size
            alpha += 1 if flag & LETTER else 0
            symbol += 1 if flag & SYMBOL else 0
            uses += 1 if flag >> STOP else 0
            which |= flag >> STOP
    distinct = 0
    while which:
        distinct += which & 1
        which >>= 1
    below, low, high = 0, -1, -1  # the two lengths in the middle
    for size in range(longest + 1):
        below += histogram[size]
        histogram[size] = 0
        if low < 0 and below > (words - 1) // 2:
            low = size
        if high < 0 and below > words // 2:
            high = size
    row[CHUNKS], row[WORDS], row[PLAIN_WORDS], row[PLAIN_CHARACTERS] = last - first, words, plain, plain_characters
    row[ALPHA_WORDS], row[SYMBOL_WORDS], row[STOP_WORDS], row[STOP_USES] = alpha, symbol, distinct, uses
    row[MEDIAN] = low + high if words else 0
    return words


@compiled
def line_feed_counts(
    codes: Any, size: int, classes: Any, prefix: Any, table: Any, stamp: Any, mask: Any, row: Any
) -> None:
    """Lines between line feeds that are not blank (FineWeb's), and runs between one line feed or more (Gopher's).

    A run is such a line, a blank one that is not empty, or the nothing before the first and behind the last line feed.
    """
    lines, ended, short, line_characters, at = 0, 0, 0, 0, 0
    runs, repeated, run_characters = 0, 0, 0
    while at <= size:
        begin, blank = at, True
        while at < size and codes[at] != 10:
            if blank and classes[codes[at]] & SPACE == 0:
                blank = False
            at += 1
        length = at - begin
        if length > 0:
            again = not is_new(table, stamp, range_hash(prefix, begin, at), mask)
            runs += 1
            if again:
                repeated += 1
                run_characters += length
            if not blank:
                lines += 1
                ended += 1 if classes[codes[at - 1]] & TERMINAL else 0
                short += 1 if length <= SHORT_LINE else 0
                line_characters += length if again else 0
        at += 1
    nothings = 1
    if size > 0:
        nothings = (1 if codes[0] == 10 else 0) + (1 if codes[size - 1] == 10 else 0)
    row[FULL_LINES], row[ENDED], row[SHORT], row[REPEATED_LINES] = lines, ended, short, line_characters
    row[RUNS], row[RUNS + 1], row[RUNS + 2] = runs + nothings, repeated + max(nothings - 1, 0), run_characters


@compiled
def paragraph_counts(
    codes: Any, size: int, classes: Any, prefix: Any, table: Any, stamp: Any, mask: Any, row: Any
) -> None:
    """Paragraphs of the stripped text, which two line feeds or more divide."""
    at, end = 0, size
    while at < end and classes[codes[at]] & SPACE:
        at += 1
    while end > at and classes[codes[end - 1]] & SPACE:
        end -= 1
    paragraphs, repeated, characters = 0, 0, 0
    while True:
        start = at
        while at < end and not (codes[at] == 10 and at + 1 < end and codes[at + 1] == 10):
            at += 1
        paragraphs += 1
        if not is_new(table, stamp, range_hash(prefix, start, at), mask):
            repeated += 1
            characters += at - start
        if at >= end:
            break
        while at < end and codes[at] == 10:
            at += 1
    row[PARAGRAPHS], row[PARAGRAPHS + 1], row[PARAGRAPHS + 2] = paragraphs, repeated, characters


@compiled
def repetition_counts(
    data: Any,
    offsets: Any,
    classes: Any,
    codes: Any,
    entries: Any,
    firsts: Any,
    first_token: Any,
    tokens: Any,
    scratch: Any,
    table: Any,
    stamp: Any,
    whole: bool,
    out: Any,
) -> Any:
    """All counts of words and repetition of the documents ``data[offsets]`` into ``out`` int64 [documents, columns].

    Without ``whole`` only those of words and full lines. ``stamp`` uint64 is larger than any in ``table``; returns the
    one to go on with.
    """
    lengths, hashes, sums, joined, places, candidates, slots, often, prefix, histogram, keys, seen = scratch
    for document in range(offsets.shape[0] - 1):
        row = out[document]
        size = decode(data, offsets[document], offsets[document + 1], codes)
        words = word_counts(
            firsts[document], firsts[document + 1], entries, first_token, tokens, lengths, hashes, histogram, row
        )
        newlines = prefix_sums(codes, size, prefix)
        mask = np.uint64(room(max(words, newlines + 2)) - 1)
        line_feed_counts(codes, size, classes, prefix, table, stamp, mask, row)
        stamp += ONE
        if not whole:
            continue
        paragraph_counts(codes, size, classes, prefix, table, stamp, mask, row)
        stamp += ONE
        grams = (sums, joined, places, candidates, slots, often, keys, seen)
        gram_counts(words, lengths, hashes, *grams, table, stamp, mask, row)
        stamp += np.uint64(10)
        ten_gram_counts(prefix, size, words, sums, candidates, slots, often, keys, seen, table, histogram, stamp, row)
        stamp += np.uint64(2)
    return stamp
