"""Counts of characters and lines, and C4's rules line by line: one pass over the code points of each document."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.compiled import compiled
from mnemic.statistics import PLACE, SCRIPTS
from operators.measure.chunks import END, MARK
from operators.measure.codepoints import (
    ALNUM,
    ALONE,
    ALPHA,
    BREAK,
    SCRIPT,
    SPACE,
    SPECIAL,
    decode,
)

CHARACTERS, HASH_SIGNS, ELLIPSES = PLACE["characters"], PLACE["hash_signs"], PLACE["ellipses"]
ALPHANUMERIC, SPECIALS, LETTERS = PLACE["alphanumeric"], PLACE["special"], PLACE["letters"]
UNSPACED, SCRIPT_OF, NEWLINES = PLACE["unspaced"], PLACE["script"], PLACE["newlines"]
LINES, LONGEST, BULLETS = PLACE["lines"], PLACE["longest_line"], PLACE["bullet_lines"]
STARS, ELLIPSIS_LINES = PLACE["star_lines"], PLACE["ellipsis_lines"]
LOREM, CURLY, CLOSED, OPEN = (PLACE[f"c4_{name}"] for name in ("lorem", "curly", "sentences", "open_sentences"))

LONGEST_WORD = 1000
FEWEST_WORDS = 3
SCRIPT_COUNT = len(SCRIPTS)
KANA = SCRIPTS.index("ja")
ELLIPSIS, BULLET = 0x2026, 0x2022

PHRASES = (
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
"""The first drops the document, the second and the others the line."""


@functools.cache
def phrases() -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """`PHRASES` joined, int32 [n]; where each begins, int64; and for each ASCII character its successor in some, int32.

    A character that begins no phrase has 0, one that begins several with different successors -1.
    """
    starts = np.cumsum([0, *(len(phrase) for phrase in PHRASES)])
    following = np.zeros(128, np.int32)
    for phrase in PHRASES:
        for first in (ord(phrase[0]), ord(phrase[0].upper())):
            following[first] = ord(phrase[1]) if following[first] in (0, ord(phrase[1])) else -1
    return np.array([ord(one) for one in "".join(PHRASES)], np.int32), starts, following


@compiled
def has_phrase(codes: Any, begin: int, end: int, joined: Any, starts: Any, following: Any) -> int:
    """1 where a line has "lorem ipsum", 2 "javascript", 4 another phrase, added up; case makes no difference."""
    result = 0
    for at in range(begin, end - 9):
        code = codes[at]
        if code > 127 or following[code] == 0 or (following[code] > 0 and following[code] != codes[at + 1] | 32):
            continue
        for number in range(starts.shape[0] - 1):
            size = starts[number + 1] - starts[number]
            if at + size > end:
                continue
            same = True
            for place in range(size):
                letter = codes[at + place]
                if 65 <= letter <= 90:
                    letter += 32
                if letter != joined[starts[number] + place]:
                    same = False
                    break
            if same:
                result |= 1 if number == 0 else 2 if number == 1 else 4
    return result


@compiled
def sentences_between(
    codes: Any, chunk: int, last: int, line: Any, entries: Any, begins: Any, first_token: Any, tokens: Any
) -> int:
    """Sentences of a ``line`` (begin, end), whose chunks are ``chunk`` to ``last``, as spaCy's sentencizer counts.

    A sentence begins with the first token behind an end of one that is no punctuation; white space of more than one
    space is such a token.
    """
    lengths, _, flags = tokens
    count, ended, end = 1, False, line[0]
    for number in range(chunk, last):
        if ended and begins[number] > end and not (begins[number] - end == 1 and codes[end] == 32):
            count += 1
            ended = False
        entry = entries[number]
        end = begins[number]
        for token in range(first_token[entry], first_token[entry + 1]):
            flag = flags[token]
            end += lengths[token]
            if ended and not flag & (MARK | END):
                count += 1
                ended = False
            elif flag & END:
                ended = True
    if ended and line[1] > end and not (line[1] - end == 1 and codes[end] == 32):
        count += 1
    return count


@compiled
def is_citation(codes: Any, at: int, end: int, classes: Any) -> bool:
    """Whether the bracket at ``at`` may begin one of C4's citations: [], [12], [edit], [citation needed]."""
    place = at + 1
    while place < end and (48 <= codes[place] <= 57 or (codes[place] > 127 and classes[codes[place]] & ALNUM)):
        place += 1
    return place < end and (codes[place] == 93 or codes[place] == 101 or codes[place] == 99)


@compiled
def line_counts(
    data: Any,
    offsets: Any,
    classes: Any,
    codes: Any,
    entries: Any,
    begins: Any,
    firsts: Any,
    first_token: Any,
    tokens: Any,
    joined: Any,
    starts: Any,
    following: Any,
    by_spaces: bool,
    judged: bool,
    open_lines: bool,
    spans: Any,
    ends: Any,
    cited: Any,
    out: Any,
) -> int:
    """Counts of characters and lines of the documents ``data[offsets]`` into ``out`` int64 [documents, columns].

    The lines that C4's rules leave, stripped, go into ``spans`` int64 [n, 2], and where those of a document end there
    into ``ends`` int64 [documents]; with ``open_lines`` also those that do not end in a mark. ``cited`` bool tells
    documents with what may be a citation, whose c4 counts and spans are not theirs. Of ``judged`` documents, C4 has cut
    its citations and counted its words already. ``by_spaces`` means that words of scripts without spaces are not found.
    """
    left = 0
    scripts = np.zeros(SCRIPT_COUNT, np.int64)
    for document in range(offsets.shape[0] - 1):
        row = out[document]
        size = decode(data, offsets[document], offsets[document + 1], codes)
        chunk, last_chunk = firsts[document], firsts[document + 1]
        alphanumeric, special, letters, unspaced = 0, 0, 0, 0
        hash_signs, ellipses, newlines = 0, 0, 0
        lines, longest, bullets, stars, ellipsis_lines = 0, 0, 0, 0, 0
        lorem, curly, closed, open_ = 0, 0, 0, 0
        scripts[:] = 0
        cited[document] = False
        at = 0
        while at < size:
            begin, dots = at, 0
            bracket, brace = False, False
            while at < size:
                code = codes[at]
                flags = classes[code]
                if flags & BREAK:
                    break
                alphanumeric += 1 if flags & ALNUM else 0
                special += 1 if flags & SPECIAL else 0
                letters += 1 if flags & ALPHA else 0
                if code == 46:
                    dots += 1
                    if dots == 3:
                        ellipses += 1
                        dots = 0
                else:
                    dots = 0
                    if code == 35:
                        hash_signs += 1
                    elif code == 123:
                        brace = True
                    elif code == 91:
                        bracket = True
                    elif code == ELLIPSIS:
                        ellipses += 1
                    elif flags & ALONE:
                        unspaced += 1
                        scripts[flags >> SCRIPT] += 1
                at += 1
            end = at
            if at < size:
                special += 1 if classes[codes[at]] & SPECIAL else 0
                newlines += 1 if codes[at] == 10 else 0
                if codes[at] == 13 and at + 1 < size and codes[at + 1] == 10:
                    newlines += 1
                    special += 1 if classes[10] & SPECIAL else 0
                    at += 1
                at += 1
            lines += 1
            longest = max(longest, end - begin)
            first, last = begin, end
            while first < last and classes[codes[first]] & SPACE:
                first += 1
            while last > first and classes[codes[last - 1]] & SPACE:
                last -= 1
            if first == last and not judged:
                continue
            if first < last:
                bullets += 1 if codes[first] == BULLET or codes[first] == 45 else 0
                stars += 1 if codes[first] == 42 or codes[first] == 45 else 0
                dotted = last - first >= 3 and codes[last - 1] == 46 and codes[last - 2] == 46 and codes[last - 3] == 46
                ellipsis_lines += 1 if dotted or codes[last - 1] == ELLIPSIS else 0
            if judged:
                first, last = begin, end
            words, longest_word, place = 0, 0, first
            while place < last:
                if classes[codes[place]] & SPACE:
                    place += 1
                    continue
                word = place
                while place < last and not classes[codes[place]] & SPACE:
                    place += 1
                words += 1
                longest_word = max(longest_word, place - word)
            mine = chunk
            while chunk < last_chunk and begins[chunk] < end:
                chunk += 1
            if not judged and longest_word > LONGEST_WORD:
                continue
            if bracket and not judged:
                for place in range(first, last):
                    if codes[place] == 91 and is_citation(codes, place, last, classes):
                        cited[document] = True
            if not judged and words < FEWEST_WORDS:
                continue
            mark = codes[last - 1] if last > first else 0
            dotted = last - first >= 3 and mark == 46 and codes[last - 2] == 46 and codes[last - 3] == 46
            ended = mark in (46, 63, 33, 34, 39) and not dotted
            phrase_flags = has_phrase(codes, first, last, joined, starts, following)
            if phrase_flags & 1 or (brace and not phrase_flags & 2):
                dropped = max(lorem, curly)  # the first such line is the reason
                level = 2 if ended else 1
                if dropped < level and phrase_flags & 1:
                    lorem = level
                elif dropped < level:
                    curly = level
            if phrase_flags or brace:
                continue
            sentences = 0
            if last > first:
                line = (first, last)
                sentences = sentences_between(codes, mine, chunk, line, entries, begins, first_token, tokens)
            open_ += sentences
            closed += sentences if ended else 0
            if ended or open_lines:
                spans[left, 0], spans[left, 1] = first, last
                left += 1
        row[CHARACTERS], row[HASH_SIGNS], row[ELLIPSES] = size, hash_signs, ellipses
        row[ALPHANUMERIC], row[SPECIALS], row[LETTERS], row[UNSPACED] = alphanumeric, special, letters, unspaced
        if by_spaces and 2 * unspaced > letters:
            row[SCRIPT_OF] = KANA if 8 * scripts[KANA] > unspaced else np.argmax(scripts)
        row[NEWLINES], row[LINES], row[LONGEST] = newlines, lines, longest
        row[BULLETS], row[STARS], row[ELLIPSIS_LINES] = bullets, stars, ellipsis_lines
        row[LOREM], row[CURLY], row[CLOSED], row[OPEN] = lorem, curly, closed, open_
        ends[document] = left
    return left
