"""Counts of words and of what repeats: paragraphs, lines, n-grams of words and of characters, by Gopher's definitions.

Gopher (Rae et al., arXiv 2112.11446, table A1) as datatrove counts it; the 10-grams of characters and words are
data-juicer's. All comparisons are of 64-bit hashes. An n-gram can stand twice only where the two (n-1)-grams in it do,
so of the nine sets of n-grams of words that Gopher asks for hardly more than one is filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled, inlined
from mnemic.statistics import PLACE
from operators.measure.chunks import APART, LETTER, PLAIN, STOP, SYMBOL
from operators.measure.codepoints import BASE, ONE, SPACE, TERMINAL, decode, hashed, mix, power

WORDS, CHUNKS, MEDIAN = PLACE["words"], PLACE["chunks"], PLACE["double_median"]
PLAIN_WORDS, PLAIN_CHARACTERS = PLACE["plain_words"], PLACE["plain_characters"]
ALPHA_WORDS, SYMBOL_WORDS = PLACE["alpha_words"], PLACE["symbol_words"]
STOP_WORDS, STOP_USES = PLACE["stop_words"], PLACE["stop_word_uses"]
PARAGRAPHS, RUNS, FULL_LINES = PLACE["paragraphs"], PLACE["runs"], PLACE["full_lines"]
ENDED, SHORT, REPEATED_LINES = PLACE["ended_lines"], PLACE["short_lines"], PLACE["repeated_line_characters"]
TOP_2, REPEATED_5 = PLACE["top_2gram"], PLACE["repeated_5grams"]
CHARACTER_GRAMS, WORD_GRAMS = PLACE["character_grams"], PLACE["word_grams"]
SHORT_LINE = 30
GRAM = 10


@inlined
def is_new(keys: Any, stamps: Any, stamp: int, key: Any, mask: Any) -> bool:
    """Whether ``key`` is not in the hash set that is stamped so, and put it in."""
    place = key & mask
    while stamps[place] == stamp and keys[place] != key:
        place = (place + ONE) & mask
    if stamps[place] == stamp:
        return False
    stamps[place] = stamp
    keys[place] = key
    return True


@compiled
def room(wanted: int) -> int:
    """The size of a hash table for so many keys: a power of two, at least twice as many."""
    size = 64
    while size < 2 * wanted:
        size *= 2
    return size


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
def full_line_counts(
    codes: Any, size: int, classes: Any, keys: Any, stamps: Any, stamp: int, mask: Any, row: Any
) -> None:
    """Lines between line feeds that are not blank: FineWeb's."""
    lines, ended, short, repeated, at = 0, 0, 0, 0, 0
    while at <= size:
        begin, blank = at, True
        while at < size and codes[at] != 10:
            if classes[codes[at]] & SPACE == 0:
                blank = False
            at += 1
        if not blank:
            lines += 1
            ended += 1 if classes[codes[at - 1]] & TERMINAL else 0
            short += 1 if at - begin <= SHORT_LINE else 0
            if not is_new(keys, stamps, stamp, hashed(codes, begin, at), mask):
                repeated += at - begin
        at += 1
    row[FULL_LINES], row[ENDED], row[SHORT], row[REPEATED_LINES] = lines, ended, short, repeated


@compiled
def block_counts(codes: Any, size: int, classes: Any, keys: Any, stamps: Any, stamp: int, mask: Any, row: Any) -> None:
    """Paragraphs (divided by two line feeds or more, of the stripped text) and runs (by one or more, of the text)."""
    first, last = 0, size
    while first < last and classes[codes[first]] & SPACE:
        first += 1
    while last > first and classes[codes[last - 1]] & SPACE:
        last -= 1
    for kind in range(2):
        begin, end = (first, last) if kind == 0 else (0, size)
        blocks, repeated, characters, at = 0, 0, 0, begin
        while True:
            start = at
            while at < end and not (codes[at] == 10 and (kind == 1 or (at + 1 < end and codes[at + 1] == 10))):
                at += 1
            blocks += 1
            if not is_new(keys, stamps, stamp + kind, hashed(codes, start, at), mask):
                repeated += 1
                characters += at - start
            if at >= end:
                break
            while at < end and codes[at] == 10:
                at += 1
        place = PARAGRAPHS if kind == 0 else RUNS
        row[place], row[place + 1], row[place + 2] = blocks, repeated, characters


@compiled
def gram_counts(
    words: int,
    lengths: Any,
    hashes: Any,
    sums: Any,
    joined: Any,
    places: Any,
    alive: Any,
    slots: Any,
    keys: Any,
    stamps: Any,
    counts: Any,
    stamp: int,
    mask: Any,
    row: Any,
) -> None:
    """Gopher's n-grams of words: the most frequent 2- to 4-grams, and 5- to 10-grams that repeat.

    ``sums`` and ``joined`` uint64 [words + 1] are prefixes of polynomials over the words and over their characters.
    """
    sums[0], joined[0], places[0] = np.uint64(0), np.uint64(0), 0
    for word in range(words):
        size = lengths[word]
        factor = BASE
        if size != 1:
            factor = power(size)
        joined[word + 1] = joined[word] * factor + hashes[word]
        sums[word + 1] = sums[word] * BASE + mix(hashes[word] + np.uint64(size))
        places[word + 1] = places[word] + size
        alive[word] = 1
    alive[words] = 0
    lead, some = BASE, words > 0
    for size in range(2, 6):
        lead = lead * BASE
        grams = words - size + 1
        if grams <= 0:
            some = False
            continue
        best, best_first, any_twice = 1, 0, False
        for first in range(grams if some else 0):
            if not alive[first] & alive[first + 1]:
                slots[first] = -1
                continue
            key = mix(sums[first + size] - sums[first] * lead)
            place = key & mask
            while stamps[place] == stamp and keys[place] != key:
                place = (place + ONE) & mask
            if stamps[place] != stamp:
                stamps[place] = stamp
                keys[place] = key
                counts[place, 0], counts[place, 1] = 1, first
            else:
                counts[place, 0] += 1
                if counts[place, 0] > best or (counts[place, 0] == best and counts[place, 1] < best_first):
                    best, best_first = counts[place, 0], counts[place, 1]
            slots[first] = place
        for first in range(grams if some else 0):
            twice = slots[first] >= 0 and counts[slots[first], 0] > 1
            alive[first] = 1 if twice else 0
            any_twice |= twice
        for first in range(grams, words):
            alive[first] = 0
        if size < 5:
            row[TOP_2 + size - 2] = best * (places[best_first + size] - places[best_first] + size - 1)
        some = any_twice
        stamp += 1
    if some:
        run = 0
        for first in range(words - 1, -1, -1):
            run = run + 1 if alive[first] else 0
            slots[first] = run
    for size in range(5, 11):
        repeated, first = 0, 0
        while some and first < words - size + 1:
            if slots[first] < size - 4:
                first += 1
                continue
            characters = places[first + size] - places[first]
            key = mix(joined[first + size] - joined[first] * power(characters) + np.uint64(characters))
            if is_new(keys, stamps, stamp, key, mask):
                first += 1
            else:
                repeated += characters
                first += size
        row[REPEATED_5 + size - 5] = repeated
        stamp += 1


@compiled
def ten_gram_counts(
    codes: Any,
    size: int,
    words: int,
    hashes: Any,
    keys: Any,
    stamps: Any,
    counts: Any,
    order: Any,
    histogram: Any,
    stamp: int,
    row: Any,
) -> None:
    """data-juicer's 10-grams of characters (the most frequent ones) and of words (those that stand more than once)."""
    lead = power(GRAM)
    for kind in range(2):
        units = size if kind == 0 else words
        grams = units - GRAM + 1
        place_of = CHARACTER_GRAMS if kind == 0 else WORD_GRAMS
        row[place_of], row[place_of + 1] = max(grams, 0), 0
        if grams <= 0:
            continue
        mask = np.uint64(room(grams) - 1)
        rolling, distinct, most = np.uint64(0), 0, 1
        for at in range(units):
            unit = np.uint64(codes[at]) + ONE if kind == 0 else hashes[at]
            rolling = rolling * BASE + mix(unit)
            if at >= GRAM:
                gone = np.uint64(codes[at - GRAM]) + ONE if kind == 0 else hashes[at - GRAM]
                rolling -= mix(gone) * lead
            if at < GRAM - 1:
                continue
            key = mix(rolling)
            place = key & mask
            while stamps[place] == stamp + kind and keys[place] != key:
                place = (place + ONE) & mask
            if stamps[place] != stamp + kind:
                stamps[place] = stamp + kind
                keys[place] = key
                counts[place, 0] = 1
                order[distinct] = place
                distinct += 1
            else:
                counts[place, 0] += 1
                most = max(most, counts[place, 0])
        for count in range(most + 1):
            histogram[count] = 0
        for number in range(distinct):
            histogram[counts[order[number], 0]] += 1
        total = 0
        left = distinct - histogram[1]
        if kind == 0:
            left = min(int(np.sqrt(distinct)), left)
        for count in range(most, 1, -1):
            taken = min(left, histogram[count])
            total += taken * count
            left -= taken
        for count in range(most + 1):
            histogram[count] = 0
        row[place_of + 1] = total


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
    keys: Any,
    stamps: Any,
    counts: Any,
    stamp: int,
    whole: bool,
    out: Any,
) -> int:
    """All counts of words and repetition of the documents ``data[offsets]`` into ``out`` int64 [documents, columns].

    Without ``whole`` only those of words and full lines. ``stamp`` is larger than any in ``stamps`` int32; returns the
    one to go on with.
    """
    lengths, hashes, sums, joined, places, alive, slots, order, histogram = scratch
    for document in range(offsets.shape[0] - 1):
        row = out[document]
        size = decode(data, offsets[document], offsets[document + 1], codes)
        words = word_counts(
            firsts[document], firsts[document + 1], entries, first_token, tokens, lengths, hashes, histogram, row
        )
        newlines = 0
        for at in range(size):
            newlines += 1 if codes[at] == 10 else 0
        mask = np.uint64(room(max(words, newlines + 2)) - 1)
        full_line_counts(codes, size, classes, keys, stamps, stamp, mask, row)
        stamp += 1
        if not whole:
            continue
        block_counts(codes, size, classes, keys, stamps, stamp, mask, row)
        stamp += 2
        gram_counts(words, lengths, hashes, sums, joined, places, alive, slots, keys, stamps, counts, stamp, mask, row)
        stamp += 10
        ten_gram_counts(codes, size, words, hashes, keys, stamps, counts, order, histogram, stamp, row)
        stamp += 2
    return stamp
