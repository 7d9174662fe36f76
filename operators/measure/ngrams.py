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
SPREAD = np.uint64(0xD6E8FEB86659FD93)  # odd


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
def keys_that_may_repeat(sums: Any, lead: Any, shape: Any, candidates: Any, keys: Any, seen: Any) -> int:
    """Leave of the first ``shape[0]`` ``candidates`` those whose n-gram of ``shape[1]`` may stand more than once.

    ``candidates`` int32 are places where n-grams of ``sums`` begin; ``keys`` uint64 become theirs. An n-gram that has
    its low bits for itself stands once, so that only the others have to be looked up. ``lead`` is BASE to the power of
    the size. Returns how many candidates are left.
    """
    count, size = shape
    places = room(count)
    shift = np.uint64(64)
    while places > 1:
        places //= 2
        shift -= ONE
    seen[: room(count)] = 0
    for number in range(count):
        first = candidates[number]
        key = sums[first + size] - sums[first] * lead
        keys[number] = key
        low = spread(key) >> shift
        seen[low] = min(seen[low] + 1, 2)
    left = 0
    for number in range(count):  # both are written whatever it is, so that nothing has to be foretold
        key, first = keys[number], candidates[number]
        keys[left], candidates[left] = key, first
        left += seen[spread(key) >> shift] >> 1
    return left


@inlined
def spread(key: Any) -> Any:
    """``key`` times an odd number: its high bits depend on all bits of a polynomial, whose own low bits do not."""
    return key * SPREAD


@compiled
def count_keys(keys: Any, count: int, table: Any, stamp: Any, firsts: Any, often: Any) -> None:
    """``firsts`` int32 [count]: where each of ``keys`` came first; ``often`` int32 [count]: how often, there, else 0.

    What repeats repeats in a row: behind a key that came before, the one is tried that stood behind it there, and the
    hash table that is stamped so is asked where that fails.
    """
    mask = np.uint64(room(count) - 1)
    before = count
    for number in range(count):
        key = keys[number]
        if before + 1 < number and keys[before + 1] == key:
            before += 1
            first = firsts[before]
        else:
            place = spread(key) >> HALF & mask
            while table[place, 1] >> HALF == stamp and table[place, 0] != key:
                place = (place + ONE) & mask
            if table[place, 1] >> HALF != stamp:
                table[place, 0] = key
                table[place, 1] = (stamp << HALF) + np.uint64(number)
                first, before = number, count
            else:
                before = first = int(np.int64(table[place, 1] & LOW))  # signed, as the other places are
        firsts[number] = first
        often[number] = 0
        often[first] += 1


@compiled
def gram_counts(
    words: int,
    lengths: Any,
    hashes: Any,
    sums: Any,
    joined: Any,
    places: Any,
    candidates: Any,
    slots: Any,
    often: Any,
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
        candidates[word] = word
    left = max(words - 1, 0)
    for size in range(2, 6):
        grams = words - size + 1
        if grams <= 0:
            left = 0
            break
        best, best_first, count = 1, 0, 0
        if left:
            left = keys_that_may_repeat(sums, power(size), (left, size), candidates, keys, seen)
            count_keys(keys, left, table, stamp, slots, often)
            for number in range(left):
                first, times = candidates[number], often[slots[number]]
                if times > best:  # the first of the most frequent, and of all where none comes twice
                    best, best_first = times, first
                candidates[count] = first
                count += 1 if times > 1 else 0
        if size < 5:
            row[TOP_2 + size - 2] = best * (places[best_first + size] - places[best_first] + size - 1)
            left = 0
            for number in range(count - 1):
                first = candidates[number]
                following = candidates[number + 1] == first + 1 and first + size < words
                candidates[left] = first
                left += 1 if following else 0
        else:
            left = count
        stamp += ONE
    some = left > 0
    if some:
        slots[:words] = 0
        for number in range(left - 1, -1, -1):
            first = candidates[number]
            slots[first] = slots[first + 1] + 1
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
    candidates: Any,
    slots: Any,
    often: Any,
    keys: Any,
    seen: Any,
    table: Any,
    histogram: Any,
    stamp: Any,
    row: Any,
) -> None:
    """data-juicer's 10-grams of characters (the most frequent ones) and of words (those that stand more than once).

    ``prefix`` and ``sums`` uint64 are polynomials over the characters and the words. ``histogram`` is left zero.
    """
    lead = power(GRAM)
    for kind in range(2):
        grams = (size if kind == 0 else words) - GRAM + 1
        place_of = CHARACTER_GRAMS if kind == 0 else WORD_GRAMS
        row[place_of], row[place_of + 1] = max(grams, 0), 0
        if grams <= 0:
            continue
        for first in range(grams):
            candidates[first] = first
        left = keys_that_may_repeat(prefix if kind == 0 else sums, lead, (grams, GRAM), candidates, keys, seen)
        count_keys(keys, left, table, stamp, slots, often)
        most = 1
        for number in range(left):
            histogram[often[number]] += 1
            most = max(most, often[number])
        distinct = grams - histogram[0]
        among = left - histogram[0] - histogram[1]
        if kind == 0:
            among = min(int(np.sqrt(distinct)), among)
        total = 0
        for count in range(most, 1, -1):
            share = min(among, histogram[count])
            total += share * count
            among -= share
        for count in range(most + 1):
            histogram[count] = 0
        row[place_of + 1] = total
        stamp += ONE
