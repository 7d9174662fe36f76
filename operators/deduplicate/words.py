"""From UTF-8 bytes to words, n-grams and hashes of whole texts: one compiled pass over the buffer of an Arrow array.

A word is a maximal run of word characters (``\\w``) in the lower-cased text; where that is asked for, each letter of a
script without spaces is a word of its own. Its hash is a polynomial modulo 2^64 over 64 random bits for every code
point, then mixed. An n-gram's is a polynomial over the hashes of its words, mixed again, so all 64 bits are uniform.
The hash of a whole text has 128 bits and covers all but white space, of which a run counts as one space.

Every hash depends on the characters alone: no salt, no state, the same number on every machine. Python's regular
expressions and joined n-grams run at about 15 MB/s here and were 70-90 % of the time of a run with a fast sketch.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from mnemic.arrays import Hashes
from mnemic.compiled import compiled, inlined
from mnemic.splitmix import GAMMA, finalised_in_kernels
from operators.deduplicate.characters import ALONE, CHECK, CLASS_SHIFT, SPACE, WORD, code_points

_WORD, _SPACE, _CHECK, _ALONE = (np.uint64(flag) for flag in (WORD, SPACE, CHECK, ALONE))
_CODE = np.uint64(0x1FFFFF)
_CLASS_SHIFT, _CLASS = np.uint64(CLASS_SHIFT), np.uint64(0xFF)
_LETTERS = np.uint64(0x9E3779B97F4A7C15)  # odd
_WORDS = np.uint64(0xA0761D6478BD642F)
_TEXT = np.uint64(0xD6E8FEB86659FD93)
_GAP = np.uint64(0x8EBC6AF09C88C6E3)  # white space between two pieces of text
_LETTER, _LETTER_FACTOR, _VALUE, _FACTOR, _MASK, _GAP_AFTER = range(6)  # columns of the table of characters
_TAIL, _LAST = np.uint64(0x3F), np.uint64(0x10FFFF)
_BLOCK = 256  # n-grams worked on at once, in the first-level cache
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)
_RARE = _CHECK | _CLASS << _CLASS_SHIFT


@inlined
def mix(value: Any) -> Any:
    """The next output of splitmix64 from ``value``, uint64."""
    return finalised_in_kernels(value + GAMMA)


@compiled
def read_words(
    data: Any, start: int, end: int, tables: Any, alone: bool, checked: bool, words: Any
) -> tuple[Any, int, bool, Any]:
    """Hashes of the words of ``data[start:end]``, and of the whole text.

    ``words`` is room for them; where it does not suffice, a larger array is returned in its place. Returns (words,
    count, check, text): ``check`` is set where the text may not be in NFC, or has letters whose lower case depends on
    their place. Such a text must be normalised first and read with ``checked``; the other values mean nothing then. The
    words are to be given to `combine`, also where they are wanted by themselves (n = 1).

    Where words end cannot be foreseen, so the loop takes the same way through every character: a branch that the
    processor guesses wrong costs more than all the arithmetic of a word.
    """
    code_points, characters = tables
    if (end - start) // 2 + 2 > len(words):
        words = np.empty((end - start) // 2 + 2, np.uint64)
    at, stop = np.uint64(start), np.uint64(end)
    count, word, letter, text = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    gap = _GAP  # at the beginning too, so that leading white space makes no difference
    last_class, class_end = np.uint64(0), stop
    if end - start >= 3 and data[at] == 0xEF and data[at + _1] == 0xBB and data[at + _2] == 0xBF:
        at += _3  # a byte order mark
    while at < stop:
        while at < stop:
            byte = data[at]
            if byte >= 0x80:
                break
            last = letter
            letter = characters[byte, _LETTER]
            words[count] = word
            count += np.uint64((letter == 0) & (last != 0))
            word = word * characters[byte, _LETTER_FACTOR] + letter
            text = text * characters[byte, _FACTOR] + characters[byte, _VALUE] + (gap & characters[byte, _MASK])
            gap = characters[byte, _GAP_AFTER]
            at += _1
        if at >= stop:
            break
        lead = np.uint64(data[at])
        code = np.uint64(data[at + _1]) & _TAIL
        if lead < np.uint64(0xE0):
            code |= (lead & np.uint64(0x1F)) << np.uint64(6)
            after = at + _2
        else:
            code = code << np.uint64(6) | np.uint64(data[at + _2]) & _TAIL
            if lead < np.uint64(0xF0):
                code |= (lead & np.uint64(0x0F)) << np.uint64(12)
                after = at + _3
            else:
                code = code << np.uint64(6) | np.uint64(data[at + _3]) & _TAIL
                code = min(code | (lead & np.uint64(0x07)) << np.uint64(18), _LAST)
                after = at + np.uint64(4)
        entry = code_points[code]
        if entry & _RARE and not checked:
            combining = entry >> _CLASS_SHIFT & _CLASS
            if entry & _CHECK or (class_end == at and np.uint64(0) < combining < last_class):
                return words, 0, True, text
            last_class, class_end = combining, after
        at = after
        last = letter
        value = mix(entry & _CODE)
        single = alone and entry & _ALONE != np.uint64(0)
        letter = value if entry & _WORD and not single else np.uint64(0)
        words[count] = word
        count += np.uint64((letter == 0) & (last != 0))
        word = word * _LETTERS + letter if letter else np.uint64(0)
        if single:
            words[count] = value
            count += _1
        if entry & _SPACE:
            gap = _GAP
        else:
            text = text * _TEXT + value + gap
            gap = np.uint64(0)
    if letter:
        words[count] = word
        count += _1
    return words, int(count), False, mix(text)


@compiled
def combine(words: Any, count: int, n: int) -> tuple[int, Any]:
    """Put the hashes of the n-grams of ``words[:count]``, from `read_words`, in their place.

    Returns how many there are, and a hash of all words in their order.
    """
    every = np.uint64(count)
    for i in range(count):
        words[i] = mix(words[i])
    for i in range(count):
        every = every * _WORDS + words[i]
    grams = max(count - n + 1, 0)
    block = np.empty(_BLOCK, np.uint64)
    for start in range(0, grams, _BLOCK):
        size = min(_BLOCK, grams - start)
        block[:size] = words[start : start + size]
        for k in range(1, n):
            for i in range(size):
                block[i] = block[i] * _WORDS + words[start + k + i]
        for i in range(size):
            words[start + i] = mix(block[i])
    return grams, mix(every)


@cache
def tables() -> tuple[Hashes, Hashes]:
    """What `read_words` looks up: `code_points`, and for every ASCII character what it does to the two sums."""
    codes = code_points()
    values = mix_all(codes[:128] & _CODE)
    is_word = (codes[:128] & _WORD) != 0
    is_space = (codes[:128] & _SPACE) != 0
    characters = np.zeros((128, 8), np.uint64)
    characters[:, _LETTER] = values * is_word
    characters[:, _LETTER_FACTOR] = _LETTERS * is_word
    characters[:, _VALUE] = values * ~is_space
    characters[:, _FACTOR] = np.where(is_space, np.uint64(1), _TEXT)
    characters[:, _MASK] = np.where(is_space, np.uint64(0), ~np.uint64(0))
    characters[:, _GAP_AFTER] = _GAP * is_space
    return codes, characters


@compiled
def mix_all(values: Any) -> Any:
    """`mix` of every element."""
    mixed = np.empty_like(values)
    for i in range(len(values)):
        mixed[i] = mix(values[i])
    return mixed
