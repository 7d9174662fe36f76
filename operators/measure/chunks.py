"""Chunks and tokens: every distinct text between two spaces is divided into words once.

A table gives each chunk (a maximal run without separators) the number of its entry, and each entry its tokens: place
and length in the chunk, hash, and flags. A corpus has few distinct chunks beside its chunks (36.9 MB of documentation:
5.19 million and 322,055), so a word rule may be as slow as it likes. The table lives with a worker and is bounded; it
is a cache, and no result depends on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.arrays import Hashes
from mnemic.compiled import compiled
from operators.measure.codepoints import (
    ALONE,
    ALPHA,
    BASE,
    MARKS,
    ONE,
    PUNCTUATION,
    SENTENCE,
    SPACE,
    SPECIAL,
    WORD,
    decode,
    mix,
    polynomial,
)

PLAIN, LETTER, MARK, END, SYMBOL, APART = (1 << bit for bit in range(6))
"""Flags of a token: has a character that is no punctuation (datatrove's set), has a letter, is all of categories P*,
ends a sentence, has a hash sign or an ellipsis, is no word."""

STOP = 8
"""Bits from here on: which of `STOP_WORDS` it is."""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's."""

_ELLIPSIS, _FULL_STOP, _HASH_SIGN = 0x2026, 46, 35


@compiled
def separates(code: int, classes: Any, by_three: bool) -> Any:
    """Whether a code point divides chunks: any white space, or of ``by_three`` a space, a tab and a line feed alone."""
    if by_three:
        return code in (32, 10, 9)
    return classes[code] & SPACE != 0


@compiled
def look_up(
    data: Any,
    offsets: Any,
    classes: Any,
    by_three: bool,
    codes: Any,
    table_keys: Any,
    table_entries: Any,
    next_entry: int,
    keys: Any,
    ends: Any,
    fresh: Any,
    entries: Any,
    begins: Any,
    firsts: Any,
) -> tuple[int, int]:
    """The entry and the first code point of every chunk of the documents ``data[offsets]``.

    Chunks that the table does not have get the next entries; ``fresh`` int64 [n, 3] are (document, begin, end) of each.
    ``keys`` uint64 and ``ends`` int32 have room for the chunks of a document.
    Returns (number of fresh ones, number of chunks); the number is -1 where ``fresh`` or the table is full.
    """
    count, chunks = 0, 0
    mask = np.uint64(table_keys.shape[0] - 1)
    room = min(fresh.shape[0], table_keys.shape[0] // 2 - next_entry)
    for document in range(offsets.shape[0] - 1):
        firsts[document] = chunks
        size = decode(data, offsets[document], offsets[document + 1], codes)
        at, of_document = 0, 0
        while at < size:  # all keys first: then the processor waits for many places of the table at a time
            code = codes[at]
            if separates(code, classes, by_three):
                at += 1
                continue
            key, begin = np.uint64(0), at
            while at < size and not separates(codes[at], classes, by_three):
                key = (key ^ np.uint64(codes[at])) * BASE
                key ^= key >> np.uint64(29)
                at += 1
            keys[of_document] = mix(key + np.uint64(at - begin)) | ONE
            begins[chunks + of_document], ends[of_document] = begin, at
            of_document += 1
        for number in range(of_document):
            key = keys[number]
            place = key & mask
            while table_keys[place] != np.uint64(0) and table_keys[place] != key:
                place = (place + ONE) & mask
            if table_keys[place] == np.uint64(0):
                if count >= room:
                    return -1, 0
                table_keys[place] = key
                table_entries[place] = next_entry + count
                fresh[count, 0], fresh[count, 1], fresh[count, 2] = document, begins[chunks + number], ends[number]
                count += 1
            entries[chunks + number] = table_entries[place]
        chunks += of_document
    firsts[offsets.shape[0] - 1] = chunks
    return count, chunks


@compiled
def divided(codes: Any, begin: int, end: int, classes: Any, rule: int, bounds: Any) -> int:
    """Divide the chunk ``codes[begin:end]`` by ``rule`` (0 unicode, 1 whitespace, 2 data-juicer) into tokens.

    Writes (begin, end, is no word) of each into ``bounds`` int64 [n, 3]; returns how many there are. By `unicode` a
    word is a run of letters, digits and marks, with single joints inside (don't, 3.5, snake_case, well-known), and
    every letter of a script without spaces. By `whitespace` it is the chunk; a full stop at its end is a token beside
    it, which is no word and ends a sentence. By data-juicer it is the chunk without special characters around it.
    """
    count = 0
    if rule == 2:
        first, last = begin, end
        while first < last and classes[codes[first]] & SPECIAL:
            first += 1
        while last > first and classes[codes[last - 1]] & SPECIAL:
            last -= 1
        if first < last:
            bounds[0, 0], bounds[0, 1], bounds[0, 2] = first, last, 0
            count = 1
        return count
    if rule == 1:
        bounds[0, 0], bounds[0, 1], bounds[0, 2] = begin, end, 0
        last = end
        while last > begin and classes[codes[last - 1]] & MARKS and not classes[codes[last - 1]] & SENTENCE:
            last -= 1  # closing quotes and brackets
        if last > begin and classes[codes[last - 1]] & SENTENCE:
            bounds[1, 0], bounds[1, 1], bounds[1, 2] = last - 1, last, 1
            return 2
        return 1
    at = begin
    while at < end:
        first, flags = at, classes[codes[at]]
        at += 1
        if flags & ALONE:
            bounds[count, 2] = 0
        elif flags & WORD:
            while at < end:
                flags = classes[codes[at]]
                if flags & WORD and not flags & ALONE:
                    at += 1
                elif (
                    at + 1 < end
                    and codes[at] in (39, 0x2019, 46, 95, 45)
                    and classes[codes[at + 1]] & WORD
                    and not classes[codes[at + 1]] & ALONE
                ):
                    at += 2
                else:
                    break
            bounds[count, 2] = 0
        else:
            bounds[count, 2] = 1
        bounds[count, 0], bounds[count, 1] = first, at
        count += 1
    return count


@compiled
def described(codes: Any, begin: int, end: int, apart: int, classes: Any, stop_words: Any) -> int:
    """The flags of the token ``codes[begin:end]``."""
    flags, plain, letter, marks = 0, False, False, True
    for at in range(begin, end):
        entry = classes[codes[at]]
        plain |= entry & PUNCTUATION == 0
        letter |= entry & ALPHA != 0
        marks &= entry & MARKS != 0
        if codes[at] == _ELLIPSIS or codes[at] == _HASH_SIGN:
            flags |= SYMBOL
        if codes[at] == _FULL_STOP and at + 2 < end and codes[at + 1] == _FULL_STOP and codes[at + 2] == _FULL_STOP:
            flags |= SYMBOL
    flags |= PLAIN * plain | LETTER * letter | MARK * marks
    if end - begin == 1 and classes[codes[begin]] & SENTENCE:
        flags |= END
    if apart:
        return flags | APART
    value = polynomial(codes, begin, end)
    for number in range(stop_words.shape[0]):
        if stop_words[number] == value:
            flags |= 1 << (STOP + number)
    return flags


@compiled
def add_tokens(
    codes: Any, bounds: Any, count: int, classes: Any, lowered: Any, lower: bool, stop_words: Any, tokens: Any, at: int
) -> int:
    """Describe ``count`` tokens at ``bounds``: (length, hash, flags) into the arrays ``tokens`` from ``at`` on."""
    lengths, hashes, flags = tokens
    for number in range(count):
        begin, end = bounds[number, 0], bounds[number, 1]
        flags[at] = described(codes, begin, end, bounds[number, 2], classes, stop_words)
        if lower:
            for place in range(begin, end):
                codes[place] = lowered[codes[place]]
        lengths[at] = end - begin
        hashes[at] = polynomial(codes, begin, end)
        at += 1
    return at


def stop_hashes() -> Hashes:
    """The hashes by which `described` knows Gopher's stop words, uint64 [8]."""
    return np.array([polynomial(_codes(word), 0, len(word)) for word in STOP_WORDS], np.uint64)


def _codes(word: str) -> Any:
    return np.frombuffer(word.encode("utf-32-le"), np.int32)


@compiled
def add_chunks(
    data: Any,
    offsets: Any,
    fresh: Any,
    codes: Any,
    classes: Any,
    rule: int,
    lengths: Any,
    counts: Any,
    lowered: Any,
    lower: bool,
    stop_words: Any,
    bounds: Any,
    tokens: Any,
    first_token: Any,
    entry: int,
) -> None:
    """Put the tokens of the ``fresh`` chunks, from `look_up`, into the table, as its entries from ``entry`` on.

    A negative ``rule`` means that ``lengths`` int64 has those of all tokens, ``counts`` int64 [fresh] each chunk's.
    """
    document, at, place = -1, first_token[entry], 0
    for number in range(fresh.shape[0]):
        if fresh[number, 0] != document or lower:  # lowering writes into the codes
            document = fresh[number, 0]
            decode(data, offsets[document], offsets[document + 1], codes)
        begin, end = fresh[number, 1], fresh[number, 2]
        if rule >= 0:
            count = divided(codes, begin, end, classes, rule, bounds)
        else:
            count = counts[number]
            for token in range(count):
                bounds[token, 0], bounds[token, 1], bounds[token, 2] = begin, begin + lengths[place], 0
                begin += lengths[place]
                place += 1
        at = add_tokens(codes, bounds, count, classes, lowered, lower, stop_words, tokens, at)
        first_token[entry + number + 1] = at
