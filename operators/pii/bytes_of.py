"""Classes of the bytes of UTF-8 text, as the scans of this folder look at them."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from mnemic.compiled import compiled

DIGIT, UPPER, LOWER, HEX, LOCAL, RUN, VALUE = (1 << bit for bit in range(7))
"""A class each: LOCAL may stand before the @ of an address, RUN in a token of a service, VALUE behind a word such as
`secret =`."""

LETTER = UPPER | LOWER
WORD = DIGIT | LETTER


def _classes() -> Any:
    table = np.zeros(256, np.uint8)
    for characters, flag in (
        (string.digits, DIGIT),
        (string.ascii_uppercase, UPPER),
        (string.ascii_lowercase, LOWER),
        (string.hexdigits, HEX),
        (string.ascii_letters + string.digits + "._%+-'", LOCAL),
        (string.ascii_letters + string.digits + "_-", RUN),
        (string.ascii_letters + string.digits + "_-+/=.~", VALUE),
    ):
        table[list(characters.encode())] |= flag
    return table


CLASSES = _classes()


@compiled
def is_of(data: Any, at: int, first: int, last: int, flags: int) -> Any:
    """Whether there is a byte of one of the classes ``flags`` at ``at`` in ``data[first:last]``."""
    return first <= at < last and CLASSES[data[at]] & flags != 0


@compiled
def in_word(data: Any, at: int, first: int, last: int) -> Any:
    """Whether a letter, digit or underscore of ASCII stands at ``at``."""
    return first <= at < last and (CLASSES[data[at]] & WORD != 0 or data[at] == 95)


@compiled
def separator(data: Any, at: int, last: int) -> int:
    """Bytes of the separator of digits at ``at``: a space, hyphen, full stop or slash; else 0.

    No-break and narrow spaces, non-breaking hyphens and dashes count.
    """
    if at >= last:
        return 0
    code = data[at]
    if code in (32, 45, 46, 47):
        return 1
    if code == 0xC2 and at + 1 < last and data[at + 1] == 0xA0:
        return 2
    if code == 0xE2 and at + 2 < last and data[at + 1] == 0x80 and data[at + 2] in (0x90, 0x91, 0x93, 0xAF, 0x89):
        return 3
    return 0
