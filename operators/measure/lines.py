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
    DIGIT,
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
CITED = tuple(np.array([ord(letter) for letter in word], np.int32) for word in ("edit]", "citation needed]"))

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
def citation_end(codes: Any, at: int, end: int, classes: Any) -> int:
    """Where the citation that begins with the bracket at ``at`` ends: [], [12], [edit], [citation needed]; else 0."""
    place = at + 1
    while place < end and classes[codes[place]] & DIGIT:
        place += 1
    if place < end and codes[place] == 93:
        return place + 1
    if place == at + 1:
        for word in CITED:
            if at + 1 + word.shape[0] <= end:
                same = True
                for number in range(word.shape[0]):
                    same &= codes[at + 1 + number] == word[number]
                if same:
                    return int(at + 1 + word.shape[0])
    return 0


@compiled
def cut_of_citations(codes: Any, begin: int, end: int, classes: Any, cut: Any) -> int:
    """Write the code points of a line without its citations into ``cut``, and return how many they are."""
    count, at = 0, begin
    while at < end:
        behind = citation_end(codes, at, end, classes) if codes[at] == 91 else 0
        if behind:
            at = behind
            continue
        cut[count] = codes[at]
        count += 1
        at += 1
    return count


@compiled
def encoded(codes: Any, size: int, data: Any, at: int) -> int:
    """Write code points as UTF-8 into ``data`` uint8 from ``at`` on, and return where they end."""
    for place in range(size):
        code = codes[place]
        if code < 0x80:
            data[at] = code
            at += 1
            continue
        more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
        data[at] = (0xFF00 >> more + 1) & 0xFF | code >> 6 * more
        for number in range(more):
            data[at + 1 + number] = 0x80 | code >> 6 * (more - 1 - number) & 0x3F
        at += more + 1
    return at


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
    cut: Any,
    out: Any,
) -> tuple[int, int]:
    """Counts of characters and lines of the documents ``data[offsets]`` into ``out`` int64 [documents, columns].

    The lines that C4's rules leave, stripped, go into ``spans`` int64 [n, 2], and where those of a document end there
    into ``ends`` int64 [documents]; with ``open_lines`` also those that do not end in a mark. ``cited`` bool tells
    documents with citations, whose spans are not theirs. Their lines with citations, cut of these, go into ``cut``
    (codes int32, data uint8, ends int64 [n + 1], lines int64 [n, 2] with document, and 1 where it ends in a mark): the
    sentences of these lines are still to be counted. Of ``judged`` documents, C4 has cut its citations and counted its
    words already. ``by_spaces`` means that words of scripts without spaces are not found. Returns how many spans there
    are, and how many lines that were cut.
    """
    cut_codes, cut_data, cut_ends, cut_lines = cut
    cuts = 0
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
            first, last, run, words, longest_word = -1, 0, 0, 0, 0
            while at < size:
                code = codes[at]
                flags = classes[code]
                if flags & BREAK:
                    break
                at += 1
                if flags & SPACE:
                    run = 0
                else:
                    first = at - 1 if first < 0 else first
                    last = at
                    run += 1
                    words += 1 if run == 1 else 0
                    longest_word = max(longest_word, run)
                alphanumeric += 1 if flags & ALNUM else 0
                special += 1 if flags & SPECIAL else 0
                letters += 1 if flags & ALPHA else 0
                if code == 46:
                    dots += 1
                    if dots == 3:
                        ellipses += 1
                        dots = 0
                    continue
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
                    scripts[flags >> SCRIPT & 7] += 1
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
            if first < 0:
                first, last = end, end
            if first == last and not judged:
                continue
            if first < last:
                bullets += 1 if codes[first] == BULLET or codes[first] == 45 else 0
                stars += 1 if codes[first] == 42 or codes[first] == 45 else 0
                dotted = last - first >= 3 and codes[last - 1] == 46 and codes[last - 2] == 46 and codes[last - 3] == 46
                ellipsis_lines += 1 if dotted or codes[last - 1] == ELLIPSIS else 0
            if judged:
                first, last = begin, end
            mine = chunk
            while chunk < last_chunk and begins[chunk] < end:
                chunk += 1
            if not judged and (longest_word > LONGEST_WORD or words < FEWEST_WORDS):
                continue
            line, size_of_line = codes, last
            start, is_cut = first, False
            if bracket and not judged:
                count = cut_of_citations(codes, first, last, classes, cut_codes)
                is_cut = count < last - first
                if is_cut:
                    line, start, size_of_line = cut_codes, 0, count
                    cited[document] = True
            mark = line[size_of_line - 1] if size_of_line > start else 0
            dotted = size_of_line - start >= 3 and mark == 46 and line[size_of_line - 2] == 46
            dotted = dotted and line[size_of_line - 3] == 46
            ended = mark in (46, 63, 33, 34, 39) and not dotted
            phrase_flags = has_phrase(line, start, size_of_line, joined, starts, following)
            if phrase_flags & 1 or (brace and not phrase_flags & 2):
                dropped = max(lorem, curly)  # the first such line is the reason
                level = 2 if ended else 1
                if dropped < level and phrase_flags & 1:
                    lorem = level
                elif dropped < level:
                    curly = level
            if phrase_flags or brace:
                continue
            if is_cut:
                cut_lines[cuts, 0], cut_lines[cuts, 1] = document, ended
                cut_ends[cuts + 1] = encoded(cut_codes, size_of_line, cut_data, cut_ends[cuts])
                cuts += 1
                continue
            sentences = 0
            if last > first:
                between = (first, last)
                sentences = sentences_between(codes, mine, chunk, between, entries, begins, first_token, tokens)
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
    return left, cuts
