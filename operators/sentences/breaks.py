"""The rules of `mnemic.sentence_ranges`, compiled: one pass over the kinds of the characters of a text.

Every function reads ``kinds`` uint8 [characters], whose ``flags`` are `operators.sentences.characters`. No loop looks
twice at more than a line or a sentence's end, so hostile text takes linear time too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled
from operators.sentences.characters import FLAGS, LAST

_SPACE, _WORD, _DIGIT, _STOP = (FLAGS[name] for name in ("SPACE", "WORD", "DIGIT", "STOP"))
_CLOSER, _OPENER, _QUOTE, _BEFORE_WORD = (FLAGS[name] for name in ("CLOSER", "OPENER", "QUOTE", "BEFORE_WORD"))
_BULLET, _UNDERLINE, _CAPITAL, _INITIAL = (FLAGS[name] for name in ("BULLET", "UNDERLINE", "CAPITAL", "INITIAL"))
_WIDE, _WIDE_STOP, _WIDE_CLOSER = (FLAGS[name] for name in ("WIDE", "WIDE_STOP", "WIDE_CLOSER"))
_WIDE_DIGIT, _WIDE_LETTER = (FLAGS[name] for name in ("WIDE_DIGIT", "WIDE_LETTER"))
_MARK, _MARK_CLOSER, _WORD_SPACE = (FLAGS[name] for name in ("MARK", "MARK_CLOSER", "WORD_SPACE"))
_PROMPT, _FENCE, _FIELD = (FLAGS[name] for name in ("PROMPT", "FENCE", "FIELD"))
_URDU_STOP, _BREAK = FLAGS["URDU_STOP"], FLAGS["BREAK"]
_NEWLINE, _HASH, _LEFT, _RIGHT, _FULL_STOP = (ord(character) for character in "\n#().")
_BAR, _COLON, _A, _Z, _LOW_LINE = (ord(character) for character in "|:az_")
_LONGEST_WORD = 6  # of the abbreviations


@compiled
def cut_texts(
    data: Any, begins: Any, ends: Any, longest: int, table: Any, flags: Any, letters: Any, abbreviations: Any
) -> tuple[Any, Any, Any]:
    """How many sentences each text ``data[begins:ends]`` of UTF-8 has, and the characters of each: int64 each.

    ``table``, ``flags``, ``letters`` and ``abbreviations`` are those of `Characters`. One function without slices that
    are written to, `min` or `max`: each level of calls is compiled again, and such a slice took a quarter of the time.
    """
    largest = 0
    for text in range(len(begins)):
        largest = max(largest, ends[text] - begins[text])
    kinds = np.empty(largest, np.uint8)
    counts = np.empty(len(begins), np.int64)
    firsts, lasts, count = np.empty(largest, np.int64), np.empty(largest, np.int64), 0
    for text in range(len(begins)):
        size = _kinds_of(data, begins[text], ends[text], table, kinds)
        if count + size > len(firsts):
            firsts, lasts = _grown(firsts, count, size), _grown(lasts, count, size)
        before = count
        start, at, on_new_line = 0, 0, True
        while start < size:
            first, end, heading = at, at, False
            if on_new_line:
                end, heading = _whole_line(kinds, size, flags, at)
            on_new_line = False
            if end > at:
                if heading and start < at:
                    on_new_line = True  # a cut before it, and one behind it in the next round
                else:
                    at = end
                ended = True
            else:
                while at < size and not flags[kinds[at]] & _BREAK:
                    at += 1
                first = at
                if at == size:
                    ended = True
                elif kinds[at] == _NEWLINE:
                    at = _end_of_block(kinds, size, flags, first)
                    ended = at > first
                    on_new_line = True
                else:
                    flag = flags[kinds[at]]
                    at = _end_of_marks(kinds, size, flags, first)
                    ended = at > first
                    if ended and flag & _STOP:
                        ended = _begins(kinds, size, flags, at) and not _abbreviates(
                            kinds, flags, letters, abbreviations, start, first
                        )
                    elif ended and flag & _URDU_STOP:
                        ended = at == size or flags[kinds[at]] & _SPACE != 0
            if ended:
                count = _put(kinds, flags, start, at, longest, firsts, lasts, count)
                start = at
            elif at == first:
                at += 1
        counts[text] = count - before
    return counts, firsts[:count], lasts[:count]


@compiled
def _kinds_of(data: Any, begin: int, end: int, table: Any, kinds: Any) -> int:
    """Write the kinds of the characters of ``data[begin:end]``, and return how many they are."""
    count, at = 0, begin
    while at < end:
        lead = int(data[at])
        if lead < 0x80:
            kinds[count] = lead
            at += 1
        else:
            width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            code = lead & (0x3F >> (width - 1))
            behind, at = at + width, at + 1
            while at < behind and at < end:
                code = code << 6 | int(data[at]) & 0x3F
                at += 1
            kinds[count] = table[code if code < LAST else LAST]
        count += 1
    return count


@compiled
def _grown(column: Any, count: int, more: int) -> Any:
    """A copy of ``column[:count]`` with room for as many again and ``more``; pages never written cost nothing."""
    room = np.empty(2 * count + more, np.int64)
    for place in range(count):
        room[place] = column[place]
    return room


@compiled
def _run(kinds: Any, size: int, flags: Any, at: int, flag: Any) -> int:
    """The end of the run of characters of a flag that begins at ``at``."""
    while at < size and flags[kinds[at]] & flag:
        at += 1
    return at


@compiled
def _blank(kinds: Any, size: int, flags: Any, at: int) -> int:
    """The end of the white space that begins at ``at``, within its line."""
    while at < size and flags[kinds[at]] & _SPACE and kinds[at] != _NEWLINE:
        at += 1
    return at


@compiled
def _whole_line(kinds: Any, size: int, flags: Any, begin: int) -> tuple[int, bool]:
    """The end of a line that is a heading or an underline, ``begin`` for another line; and whether it is a heading."""
    first = _blank(kinds, size, flags, begin)
    if first == size or not flags[kinds[first]] & _UNDERLINE:
        return begin, False
    at = first
    while at < size and kinds[at] == kinds[first]:
        at += 1
    end = _blank(kinds, size, flags, at)
    if kinds[first] == _HASH and at - first <= 6 and end > at:
        while end < size and kinds[end] != _NEWLINE:
            end += 1
        return end, True
    if at - first >= 3 and (end == size or kinds[end] == _NEWLINE):
        return end, False
    return begin, False


@compiled
def _end_of_block(kinds: Any, size: int, flags: Any, newline: int) -> int:
    """Behind the blank line after ``newline``, or behind ``newline`` where a list item or its like follows it.

    ``newline`` where the paragraph goes on.
    """
    at = _blank(kinds, size, flags, newline + 1)
    if at == size:
        return newline
    if kinds[at] == _NEWLINE:
        return at + 1
    kind = kinds[at]
    after = at + 1
    if flags[kind] & _BULLET or kind == _BAR:
        spaced = True
    elif kind == _LEFT or flags[kind] & _DIGIT:
        first = after if kind == _LEFT else at
        after = _run(kinds, size if size < first + 4 else first + 4, flags, first, _DIGIT)
        spaced = first < after <= first + 3 and after < size and (kinds[after] == _FULL_STOP or kinds[after] == _RIGHT)
        after += 1
    elif flags[kind] & (_PROMPT | _FENCE):
        thrice = at + 2 < size and kinds[at + 1] == kind and kinds[at + 2] == kind
        if thrice and flags[kind] & _FENCE:
            return newline + 1
        spaced, after = thrice, at + 3
    elif flags[kind] & _FIELD:
        spaced = after < size and _A <= kinds[after] <= _Z
        while spaced and after < size and kinds[after] != _COLON and kinds[after] != _NEWLINE:
            after += 1
        spaced = spaced and after < size and kinds[after] == _COLON
        after += 1
    else:
        spaced = False
    return newline + 1 if spaced and after < size and flags[kinds[after]] & _SPACE else newline


@compiled
def _end_of_marks(kinds: Any, size: int, flags: Any, first: int) -> int:
    """The end of the marks that begin at ``first`` and of what closes them; ``first`` where it is no mark."""
    flag = flags[kinds[first]]
    alone = flag & (_STOP | _URDU_STOP)
    closers, at = _CLOSER, first
    if alone:
        at = _run(kinds, size, flags, first, alone)
    elif flag & (_WIDE | _WIDE_STOP):
        at = _end_of_wide(kinds, size, flags, first)
        closers = _WIDE_CLOSER
    else:
        at = _end_of_own(kinds, size, flags, first)
        closers = _MARK_CLOSER
    return _run(kinds, size, flags, at, closers) if at > first else first


@compiled
def _end_of_wide(kinds: Any, size: int, flags: Any, at: int) -> int:
    """The end of the run of full-width marks that begins at ``at``; of a stop within a number or a name it is none."""
    while at < size:
        flag = flags[kinds[at]]
        if flag & _WIDE_STOP:
            if at > 0 and flags[kinds[at - 1]] & _WIDE_DIGIT:
                break
            if at + 1 < size and flags[kinds[at + 1]] & _WIDE_LETTER:
                break
        elif not flag & _WIDE:
            break
        at += 1
    return at


@compiled
def _end_of_own(kinds: Any, size: int, flags: Any, at: int) -> int:
    """The end of the marks of a script of its own that begin at ``at``; between equal ones there may be blanks."""
    while at < size:
        mark, width = kinds[at], 1
        if flags[mark] & _WORD_SPACE:
            width = 2
            if at + 1 >= size or kinds[at + 1] != mark:
                break
        elif not flags[mark] & _MARK:
            break
        again = at
        while again < size and kinds[again] == mark and (width == 1 or (again + 1 < size and kinds[again + 1] == mark)):
            at = again + width
            again = _blank(kinds, size, flags, at)
    return at


@compiled
def _begins(kinds: Any, size: int, flags: Any, at: int) -> bool:
    """Whether a sentence begins at ``at``: behind white space a capital, or a quote before any word."""
    opening = _run(kinds, size, flags, at, _SPACE)
    if opening == at:
        return False
    word = _run(kinds, size, flags, opening, _OPENER)
    if word == size or not flags[kinds[word]] & _WORD:  # a low line is an opener and of a word
        word -= 1
        while word >= opening and kinds[word] != _LOW_LINE:
            word -= 1
        if word < opening:
            return False
    if flags[kinds[word]] & _CAPITAL:
        return True
    quote = opening
    while quote < word and not flags[kinds[quote]] & _QUOTE:
        quote += 1
    return quote < word


@compiled
def _abbreviates(kinds: Any, flags: Any, letters: Any, abbreviations: Any, start: int, stop: int) -> bool:
    """Whether one full stop at ``stop``, not the last character, is of an initial or abbreviation behind ``start``."""
    if kinds[stop] != _FULL_STOP or flags[kinds[stop + 1]] & _STOP:
        return False
    end = stop - 1 if stop > start and kinds[stop - 1] == _NEWLINE else stop  # as `$` of a regular expression
    number, at = 0, end
    while at > start and not flags[kinds[at - 1]] & _BEFORE_WORD:
        at -= 1
        letter = letters[kinds[at]]
        if end - at > _LONGEST_WORD or (letter == 0 and end - at > 1):
            return False
        number |= letter << 5 * (end - at - 1)
    if end - at == 1 and flags[kinds[at]] & _INITIAL:
        return True
    return number > 0 and abbreviations[number % len(abbreviations)] == number


@compiled
def _put(kinds: Any, flags: Any, start: int, end: int, longest: int, starts: Any, ends: Any, count: int) -> int:
    """Write the range without the white space around it, cut where it is longer than ``longest``."""
    while start < end and flags[kinds[start]] & _SPACE:
        start += 1
    if start == end:
        return count
    while flags[kinds[end - 1]] & _SPACE:
        end -= 1
    while end - start > longest:
        cut = start + longest + 1
        while cut > start + 1 and not flags[kinds[cut - 1]] & _SPACE:
            cut -= 1
        if cut == start + 1:
            cut = start + longest
        last = cut
        while flags[kinds[last - 1]] & _SPACE:
            last -= 1
        starts[count], ends[count] = start, last
        count += 1
        start = cut
        while flags[kinds[start]] & _SPACE:
            start += 1
    starts[count], ends[count] = start, end
    return count + 1
