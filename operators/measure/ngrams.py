"""Hash tables of n-grams: Gopher's of words, and data-juicer's of characters and words.

All comparisons are of 64-bit hashes. An n-gram can stand twice only where the two (n-1)-grams in it do, and where its
low bits come twice; so of the nine sets of n-grams of words that Gopher asks for hardly more than one is filled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled, inlined
from mnemic.statistics import PLACE
from operators.measure.codepoints import BASE, ONE, mix, power

TOP_2, REPEATED_5 = PLACE["top_2gram"], PLACE["repeated_5grams"]
CHARACTER_GRAMS, WORD_GRAMS = PLACE["character_grams"], PLACE["word_grams"]
GRAM = 10
POWERS_KNOWN = 512
POWERS = np.array([pow(int(BASE), size, 1 << 64) for size in range(POWERS_KNOWN)], np.uint64)
HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)


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
            if count > ONE:
                any_twice = True
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
