"""E-mail addresses, and public addresses of the internet, in bytes. Each look ahead and back is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled
from operators.pii.bytes_of import CLASSES, DIGIT, HEX, LETTER, LOCAL, WORD, in_word, is_of

_LOCAL, _LABEL, _DOMAIN = 64, 63, 255
"""Bytes of the part before the @, of a label of a domain, and of a domain (RFC 5321)."""


def _packed(word: str) -> int:
    return int.from_bytes(word.encode(), "big")


_ENDINGS = "css csv dll docx eml gif htm html ico jpeg jpg js json jsonl mjs pdf png scss svg tgz txt webp whl xlsx xml"
_FILES = np.array(sorted(map(_packed, _ENDINGS.split())), np.int64)
"""Endings of files, which no domain has: `icon@2x.png` is no address."""


@compiled
def email(data: Any, at: int, first: int, last: int) -> tuple[int, int]:
    """The range of the address whose @ is at ``at`` in ``data[first:last]``; (0, 0) where there is none."""
    begin = at
    while begin > first and at - begin < _LOCAL and CLASSES[data[begin - 1]] & LOCAL:
        begin -= 1
    if begin > first and CLASSES[data[begin - 1]] & LOCAL:
        return 0, 0  # longer than any
    while begin < at and not in_word(data, begin, first, last):
        begin += 1
    if begin == at or data[at - 1] == 46:
        return 0, 0
    end, label, letters = 0, at + 1, True
    place, ending = at + 1, np.int64(0)
    most = min(last, at + 1 + _DOMAIN)
    while place <= most:
        code = int(data[place]) if place < most else 0
        if code > 127 and letters and place - label >= 2 and label > at + 1 and not _among(ending):
            end = place  # a text without spaces may go on behind it
        if CLASSES[code] & WORD or code > 127 or (code == 45 and place > label):
            letters &= CLASSES[code] & LETTER != 0
            ending = (ending << 8) | (code | 32) if place - label < 7 else np.int64(0)
            if place - label >= _LABEL:
                return 0, 0
        else:
            size = place - label
            if size == 0:
                break
            if letters and size >= 2 and label > at + 1 and not _among(ending):
                end = place
            if code != 46:
                break
            label, letters, ending = place + 1, True, np.int64(0)
        place += 1
    return (begin, end) if end else (0, 0)


@compiled
def _among(ending: Any) -> Any:
    place = np.searchsorted(_FILES, ending)
    return place < len(_FILES) and _FILES[place] == ending


@compiled
def four_bytes(data: Any, at: int, first: int, last: int) -> int:
    """The end of the public IPv4 address that begins at ``at``; 0 where there is none."""
    if at > first and (data[at - 1] == 45 or (data[at - 1] == 46 and is_of(data, at - 2, first, last, WORD))):
        return 0
    value, place = np.int64(0), at
    for part in range(4):
        number, size = 0, 0
        while size < 4 and is_of(data, place, first, last, DIGIT):
            number = number * 10 + int(data[place]) - 48
            size += 1
            place += 1
        if size == 0 or number > 255 or (size > 1 and data[place - size] == 48):
            return 0
        value = (value << 8) | number
        if part < 3:
            if place >= last or data[place] != 46:
                return 0
            place += 1
    if in_word(data, place, first, last):
        return 0
    if place < last and data[place] == 46 and is_of(data, place + 1, first, last, DIGIT):
        return 0
    return place if is_public(value) else 0


@compiled
def is_public(value: Any) -> Any:
    """Whether an IPv4 address, as a number, is of the public internet: IANA's special ones and multicast are not."""
    top = value >> 24
    if top in (0, 10, 127) or top >= 224:
        return False
    if value >> 22 == (100 << 2) | 1 or value >> 20 == (172 << 4) | 1 or value >> 17 == (198 << 7) | 9:
        return False
    sixteen, twenty_four = value >> 16, value >> 8
    if sixteen == (169 << 8) | 254 or sixteen == (192 << 8) | 168:
        return False
    documented = twenty_four == (198 << 16) | (51 << 8) | 100 or twenty_four == (203 << 16) | 113
    return not (documented or twenty_four == 192 << 16 or twenty_four == (192 << 16) | 2)


@compiled
def eight_groups(data: Any, at: int, first: int, last: int) -> int:
    """The end of the IPv6 address of the public internet (2000::/3) that begins at ``at``; 0 where there is none."""
    if at > first and (data[at - 1] == 58 or data[at - 1] == 46):
        return 0
    groups, gap, place = 0, False, at
    one, two = 0, 0
    end = 0
    while groups < 8:
        number, size = 0, 0
        while size < 5 and is_of(data, place, first, last, HEX):
            code = int(data[place])
            number = number * 16 + (code - 48 if code < 58 else (code | 32) - 87)
            size += 1
            place += 1
        if size == 0 or size > 4:
            return 0
        if groups == 0:
            one = number
        elif groups == 1 and not gap:
            two = number
        groups += 1
        end = place
        if place >= last or data[place] != 58:
            break
        if place + 1 < last and data[place + 1] == 58:
            if gap:
                return 0
            gap = True
            place += 2
            end = place
            if not is_of(data, place, first, last, HEX):
                break
        elif is_of(data, place + 1, first, last, HEX):
            place += 1
        else:
            break  # a colon behind it
    if gap == (groups == 8) or in_word(data, end, first, last):
        return 0
    if end < last and data[end] == 58 and is_of(data, end + 1, first, last, HEX):
        return 0
    special = one == 0x2001 and (two < 0x200 or two == 0xDB8)
    tunnel = one == 0x2002 or (one == 0x3FFF and two < 0x1000)
    return 0 if one < 0x2000 or one > 0x3FFF or special or tunnel else end
