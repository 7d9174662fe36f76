"""Payment cards, bank accounts and telephone numbers, in bytes. Each look ahead is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.compiled import compiled
from operators.pii.bytes_of import DIGIT, UPPER, in_word, is_of, separator
from operators.pii.countries import NATIONAL, PHONES

_IBAN = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18
FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20
LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24
SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
"""
"""Country and length, of SWIFT's registry."""


def _lengths() -> Any:
    table = np.zeros(26 * 26, np.uint8)
    for entry in _IBAN.split():
        table[(ord(entry[0]) - 65) * 26 + ord(entry[1]) - 65] = int(entry[2:])
    return table


_LENGTHS = _lengths()


def _plan() -> Any:
    table = np.zeros((1000, 2), np.int64)
    for code, digits in PHONES.items():
        table[code] = digits
    return table


_PLAN = _plan()


@compiled
def card(data: Any, at: int, first: int, last: int) -> int:
    """The end of the card number that begins at ``at``; 0 where there is none. Digits stand together or in groups."""
    if at > first and (data[at - 1] == 46 or data[at - 1] == 45 or data[at - 1] == 43):
        return 0
    size = 0
    while size < 20 and is_of(data, at + size, first, last, DIGIT):
        size += 1
    if size != 4 and (size < 13 or size > 19):
        return 0
    digits = np.zeros(20, np.int64)
    size, place = 0, at
    while size < 20 and is_of(data, place, first, last, DIGIT):
        digits[size] = int(data[place]) - 48
        size += 1
        place += 1
    if size == 4:
        between = separator(data, place, last)
        group = 1
        while between and size < 16 and data[place] != 46 and data[place] != 47:
            begin, count = place + between, 0
            while count < 7 and is_of(data, begin + count, first, last, DIGIT) and size + count < 20:
                digits[size + count] = int(data[begin + count]) - 48
                count += 1
            if not (count == 4 or (group == 1 and count == 6) or (group == 2 and count == 5)):
                break
            size += count
            place = begin + count
            group += 1
            between = separator(data, place, last)
            if size in (14, 15):
                break
    if size < 13 or size > 19 or in_word(data, place, first, last):
        return 0
    if is_of(data, place + 1, first, last, DIGIT) and data[place] == 46:
        return 0
    return place if _issued(digits, size) and luhn(digits, size) else 0


@compiled
def _issued(digits: Any, size: int) -> Any:
    """Whether a number of this length begins as those of a card company do."""
    two = digits[0] * 10 + digits[1]
    four = two * 100 + digits[2] * 10 + digits[3]
    if digits[0] == 4:
        return size in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return size == 16
    if two in (34, 37):
        return size == 15
    if two in (36, 38) or 3000 <= four <= 3059:
        return size == 14
    return size >= 16 and (four == 6011 or 6440 <= four <= 6599 or 3528 <= four <= 3589 or two == 62)


@compiled
def luhn(digits: Any, size: int) -> Any:
    """Whether the check digit, the last of ``digits`` int64 [size], is right (ISO/IEC 7812)."""
    total = 0
    for place in range(size):
        value = digits[size - 1 - place]
        if place & 1:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


@compiled
def iban(data: Any, at: int, first: int, last: int) -> int:
    """The end of the IBAN that begins at ``at``, its groups of four together or apart; 0 where there is none."""
    if not (is_of(data, at, first, last, UPPER) and is_of(data, at + 1, first, last, UPPER)):
        return 0
    length = int(_LENGTHS[(int(data[at]) - 65) * 26 + int(data[at + 1]) - 65])
    if not length or not is_of(data, at + 2, first, last, DIGIT) or not is_of(data, at + 3, first, last, DIGIT):
        return 0
    codes = np.zeros(34, np.int64)
    size, place = 0, at
    while size < length:
        if size and size % 4 == 0 and place < last and data[place] != 46 and data[place] != 47:
            place += separator(data, place, last)
        if not is_of(data, place, first, last, DIGIT | UPPER):
            return 0
        code = int(data[place])
        codes[size] = code - 48 if code < 58 else code - 55
        size += 1
        place += 1
    if in_word(data, place, first, last):
        return 0
    rest = 0
    for number in range(length):  # the first four come last (ISO 13616)
        value = codes[(number + 4) % length]
        rest = (rest * (10 if value < 10 else 100) + value) % 97
    return place if rest == 1 else 0


@compiled
def phone(data: Any, at: int, first: int, last: int, home: Any, american: bool) -> int:
    """The end of the telephone number that begins at ``at``; 0 where there is none.

    International ones begin with + or 00. ``home`` bool [16] are the numbers of digits of national ones with a leading
    0; ``american`` asks for those of North America.
    """
    begun, before = data[at] == 43, int(data[at - 1]) if at > first else 32
    if in_word(data, at - 1, first, last) or before == 43 or (not begun and before in (35, 45, 46, 47)):
        return 0
    if not begun and data[at] != 40 and data[at] != 48:
        three = is_of(data, at + 1, first, last, DIGIT) and is_of(data, at + 2, first, last, DIGIT)
        short = three and not is_of(data, at + 3, first, last, DIGIT)
        if not american or not short:
            return 0
    digits, ends, groups = np.zeros(18, np.int64), np.zeros(18, np.int64), np.zeros(18, np.int64)
    size, count, dots = 0, 0, 0
    opened, closed, spaced = False, False, False
    place = at + 1 if begun else at
    while size < 18:
        if place < last and data[place] == 40 and not opened:
            opened = True
            place += 1
        begin = size
        while size < 18 and is_of(data, place, first, last, DIGIT):
            digits[size] = int(data[place]) - 48
            size += 1
            place += 1
        if size == begin:
            break
        end = place
        if opened and not closed and place < last and data[place] == 41:
            closed = True
            place += 1
        if closed and begun and count == 1 and size == begin + 1 and digits[begin] == 0:
            size = begin  # "+49 (0)30": not dialled from abroad
        else:
            groups[count], ends[count] = size - begin, end
            count += 1
        between = separator(data, place, last)
        if between:
            dots += data[place] == 46
            spaced |= data[place] == 32 and count == 1 and not closed
            place += between
            if data[place - 1] == 32 and separator(data, place, last) and separator(data, place + 1, last):
                place += 2  # " - "
    if count == 0 or (opened and not closed):
        return 0
    sizes, pairs = np.cumsum(groups), True
    for group in range(count):
        pairs &= groups[group] == 2
    if pairs and not begun and count != 5:
        return 0  # bytes in hexadecimal are pairs too
    skip = 0
    if not begun and digits[0] == 0 and digits[1] == 0 and not pairs:
        begun, skip = True, 2
    for group in range(count - 1, -1, -1):
        end = int(ends[group])
        if in_word(data, end, first, last):
            continue
        if begun:
            if _plans(digits, skip, sizes[group]):
                return end
        elif digits[0] == 0:
            dated = group == 2 and groups[0] == 2 and groups[1] == 2 and (groups[2] == 4 or groups[2] == 2)
            apart = group > 0 and groups[0] >= 2 and not dated and not (dots and group < 2)
            if apart and sizes[group] < 16 and home[sizes[group]]:
                return end
        else:
            threes = group == 2 and groups[0] == 3 and groups[1] == 3 and groups[2] == 4
            if american and threes and digits[0] > 1 and digits[3] > 1 and not spaced:
                return end
    return 0


@compiled
def _plans(digits: Any, skip: int, size: int) -> Any:
    """Whether ``digits`` behind the first ``skip`` are a calling code and as many digits as its plan has."""
    code = 0
    for length in range(1, 4):
        if skip + length > size:
            return False
        code = code * 10 + digits[skip + length - 1]
        fewest, most = _PLAN[code, 0], _PLAN[code, 1]
        if most:
            rest = size - skip - length
            if code == 1 and (digits[skip + 1] < 2 or (rest >= 4 and digits[skip + 4] < 2)):
                return False
            return fewest <= rest <= most
    return False


def home_lengths(countries: Any) -> Any:
    """The numbers of digits of national numbers of ``countries``, bool [16]."""
    table = np.zeros(16, np.bool_)
    for country in countries:
        if country in NATIONAL:
            fewest, most = NATIONAL[country]
            table[fewest : most + 1] = True
    return table
