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
from operators.measure.codepoints import BASE, ONE, SPACE, TERMINAL, decode, mix, power

WORDS, CHUNKS, MEDIAN = PLACE["words"], PLACE["chunks"], PLACE["double_median"]
PLAIN_WORDS, PLAIN_CHARACTERS = PLACE["plain_words"], PLACE["plain_characters"]
ALPHA_WORDS, SYMBOL_WORDS = PLACE["alpha_words"], PLACE["symbol_words"]
STOP_WORDS, STOP_USES = PLACE["stop_words"], PLACE["stop_word_uses"]
PARAGRAPHS, RUNS, FULL_LINES = PLACE["paragraphs"], PLACE["runs"], PLACE["full_lines"]
ENDED, SHORT, REPEATED_LINES = PLACE["ended_lines"], PLACE["short_lines"], PLACE["repeated_line_characters"]
TOP_2, REPEATED_5 = PLACE["top_2gram"], PLACE["repeated_5grams"]
CHARACTER_GRAMS, WORD_GRAMS = PLACE["character_grams"], PLACE["word_grams"]
SHORT_LINE = 30
SPREAD = np.uint64(0xD6E8FEB86659FD93)  # odd
POWERS_KNOWN = 512
POWERS = np.array([pow(int(BASE), size, 1 << 64) for size in range(POWERS_KNOWN)], np.uint64)
HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)
GRAM = 10


@inlined
def slot_of(table: Any, stamp: Any, key: Any, mask: Any) -> Any:
    """The place of ``key`` in the hash table that is stamped so, or the free one where it belongs.

    ``table`` uint64 [places, 2] has keys, and the stamp (high half) with a count (low half) of each: a stamp that is
    another makes a place free, so a table need not be emptied, and a key and its count share a line of the cache.
    """
    place = key & mask
    while table[place, 1] >> HALF == stamp and table[place, 0] != key:
        place = (place + ONE) & mask
    return place


@inlined
def is_new(table: Any, stamp: Any, key: Any, mask: Any) -> bool:
    """Whether ``key`` is not in the hash set that is stamped so, and put it in."""
    place = slot_of(table, stamp, key, mask)
    if table[place, 1] >> HALF == stamp:
        return False
    table[place, 0] = key
    table[place, 1] = stamp << HALF
    return True


@compiled
def room(entries: int) -> int:
    """The size of a hash table for so many keys: a power of two, at least twice as many."""
    size = 64
    while size < 2 * entries:
        size *= 2
    return size


@inlined
def raised(size: int) -> Any:
    """BASE to the power of ``size``, from a table where it is small."""
    return POWERS[size] if size < POWERS_KNOWN else power(size)


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
def keys_of_grams(sums: Any, grams: int, size: int, keys: Any, seen: Any) -> Any:
    """Keys uint64 of the n-grams of ``sums``, and in ``seen`` uint8 how often their low bits came: 1, or 2 for more.

    An n-gram that has its low bits for itself stands once, so that only the others have to be looked up. Returns the
    mask of the low bits.
    """
    lead = power(size)
    mask = np.uint64(2 * room(grams) - 1)
    for place in range(mask + ONE):
        seen[place] = 0
    for first in range(grams):
        key = mix(sums[first + size] - sums[first] * lead)
        keys[first] = key
        low = key & mask
        seen[low] = min(seen[low] + 1, 2)
    return mask


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
    seen: Any,
    table: Any,
    stamp: Any,
    mask: Any,
    row: Any,
) -> None:
    """Gopher's n-grams of words: the most frequent 2- to 4-grams, and 5- to 10-grams that repeat.

    ``sums`` and ``joined`` uint64 [words + 1] are prefixes of polynomials over the words and over their characters.
    """
    sums[0], places[0] = np.uint64(0), 0
    for word in range(words):
        sums[word + 1] = sums[word] * BASE + mix(hashes[word] + np.uint64(lengths[word]))
        places[word + 1] = places[word] + lengths[word]
        alive[word] = 1
    alive[words] = 0
    some = words > 0
    for size in range(2, 6):
        grams = words - size + 1
        if grams <= 0:
            some = False
            continue
        best, best_first, any_twice = np.uint64(1), 0, False
        low_bits = keys_of_grams(sums, grams, size, keys, seen) if some else np.uint64(0)
        for first in range(grams if some else 0):
            if seen[keys[first] & low_bits] == 1 or not alive[first] & alive[first + 1]:
                slots[first] = -1
                continue
            key = keys[first]
            place = slot_of(table, stamp, key, mask)
            if table[place, 1] >> HALF != stamp:
                table[place, 0] = key
                table[place, 1] = (stamp << HALF) + ONE
            else:
                table[place, 1] += ONE
                best = max(best, table[place, 1] & LOW)
            slots[first] = place
        named = best == ONE  # then the first gram of all is the most frequent
        for first in range(grams if some else 0):
            count = table[slots[first], 1] & LOW if slots[first] >= 0 else np.uint64(0)
            alive[first] = 1 if count > ONE else 0
            any_twice |= count > ONE
            if not named and count == best:
                named, best_first = True, first
        for first in range(grams, words):
            alive[first] = 0
        if size < 5:
            row[TOP_2 + size - 2] = np.int64(best) * (places[best_first + size] - places[best_first] + size - 1)
        some = any_twice
        stamp += ONE
    if some:
        run = 0
        for first in range(words - 1, -1, -1):
            run = run + 1 if alive[first] else 0
            slots[first] = run
        joined[0] = np.uint64(0)
        for word in range(words):
            joined[word + 1] = joined[word] * raised(lengths[word]) + hashes[word]
    for size in range(5, 11):
        repeated, first = 0, 0
        while some and first < words - size + 1:
            if slots[first] < size - 4:
                first += 1
                continue
            characters = places[first + size] - places[first]
            key = mix(joined[first + size] - joined[first] * raised(characters) + np.uint64(characters))
            if is_new(table, stamp, key, mask):
                first += 1
            else:
                repeated += characters
                first += size
        row[REPEATED_5 + size - 5] = repeated
        stamp += ONE


@compiled
def ten_gram_counts(
    prefix: Any,
    size: int,
    words: int,
    sums: Any,
    keys: Any,
    seen: Any,
    table: Any,
    histogram: Any,
    stamp: Any,
    row: Any,
) -> None:
    """data-juicer's 10-grams of characters (the most frequent ones) and of words (those that stand more than once).

    ``prefix`` and ``sums`` uint64 are polynomials over the characters and the words.
    """
    for kind in range(2):
        grams = (size if kind == 0 else words) - GRAM + 1
        place_of = CHARACTER_GRAMS if kind == 0 else WORD_GRAMS
        row[place_of], row[place_of + 1] = max(grams, 0), 0
        if grams <= 0:
            continue
        low_bits = keys_of_grams(prefix if kind == 0 else sums, grams, GRAM, keys, seen)
        mask = np.uint64(room(grams) - 1)
        distinct, most = 0, np.uint64(1)
        histogram[1] = 0
        for first in range(grams):
            key = keys[first]
            if seen[key & low_bits] == 1:
                distinct += 1
                histogram[1] += 1
                continue
            place = slot_of(table, stamp, key, mask)
            if table[place, 1] >> HALF != stamp:
                table[place, 0] = key
                table[place, 1] = (stamp << HALF) + ONE
                distinct += 1
                histogram[1] += 1
            else:
                count = table[place, 1] & LOW
                table[place, 1] += ONE
                histogram[count] -= 1
                if count == most:
                    most += ONE
                    histogram[most] = 0
                histogram[count + ONE] += 1
        left = distinct - histogram[1]
        if kind == 0:
            left = min(int(np.sqrt(distinct)), left)
        total = 0
        for count in range(int(most), 1, -1):
            share = min(left, histogram[count])
            total += share * count
            left -= share
        for count in range(int(most) + 1):
            histogram[count] = 0
        row[place_of + 1] = total
        stamp += ONE


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
    lengths, hashes, sums, joined, places, alive, slots, prefix, histogram, keys, seen = scratch
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
        grams = (sums, joined, places, alive, slots, keys, seen)
        gram_counts(words, lengths, hashes, *grams, table, stamp, mask, row)
        stamp += np.uint64(10)
        ten_gram_counts(prefix, size, words, sums, keys, seen, table, histogram, stamp, row)
        stamp += np.uint64(2)
    return stamp
