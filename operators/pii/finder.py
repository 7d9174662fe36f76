"""One scan of the bytes of texts for all kinds of personal data, in time linear in their length."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers
from mnemic.compiled import compiled
from mnemic.personal import PERSONAL_KINDS
from operators.deduplicate.shingles import buffers
from operators.pii.addresses import eight_groups, email, four_bytes
from operators.pii.bytes_of import CLASSES, DIGIT, RUN, UPPER, in_word, is_of
from operators.pii.countries import NORTH_AMERICA
from operators.pii.numbers import card, home_lengths, iban, phone
from operators.pii.secrets import private_key, token, value

_EMAIL, _IP, _PHONE, _IBAN, _CARD, _KEY = range(len(PERSONAL_KINDS))

_SHORTEST = 6
"""Bytes of a span, at least: a@b.de."""


@compiled
def scan(data: Any, first: int, last: int, kinds: Any, home: Any, american: bool, spans: Any, count: int) -> int:
    """Write (begin, end, kind) of what stands in ``data[first:last]`` into ``spans`` int64 [n, 3] from ``count`` on.

    ``kinds`` bool [6] are those that are looked for. Returns how many there are by then. What was seen in the part of
    an address before its @ becomes part of it.
    """
    at, begun = first, count
    while at < last:
        code = int(data[at])
        flags = CLASSES[code]
        begin, end, kind = at, 0, 0
        fresh = not in_word(data, at - 1, first, last)
        if code == 64 and kinds[_EMAIL]:
            begin, end = email(data, at, first, last)
            kind = _EMAIL
        elif (code in (61, 58)) and kinds[_KEY]:
            begin, end = value(data, at, first, last)
            kind = _KEY
        elif code == 45 and kinds[_KEY] and is_of(data, at + 1, first, last, RUN):
            end, kind = private_key(data, at, first, last), _KEY
        if not end and kinds[_KEY] and flags & RUN and not is_of(data, at - 1, first, last, RUN):
            end, kind = token(data, at, first, last), _KEY
        if not end and fresh and flags & UPPER and kinds[_IBAN]:
            end, kind = iban(data, at, first, last), _IBAN
        if not end and fresh and flags & DIGIT and kinds[_IP]:
            if code in (50, 51):
                end, kind = eight_groups(data, at, first, last), _IP
            if not end:
                end, kind = four_bytes(data, at, first, last), _IP
        if not end and fresh and flags & DIGIT and kinds[_CARD]:
            end, kind = card(data, at, first, last), _CARD
        if not end and kinds[_PHONE] and ((fresh and flags & DIGIT) or code in (43, 40)):
            end, kind = phone(data, at, first, last, home, american), _PHONE
        if end > at:
            while count > begun and spans[count - 1, 1] > begin:
                count -= 1
                begin = min(begin, spans[count, 0])
            spans[count, 0], spans[count, 1], spans[count, 2] = begin, end, kind
            count += 1
            at = end
        else:
            at += 1
    return count


@compiled
def scan_all(data: Any, offsets: Any, kinds: Any, home: Any, american: bool, spans: Any, ends: Any) -> int:
    """`scan` of the texts ``data[offsets]``, with ``ends`` int64 [texts] of their spans, in characters of each text."""
    count = 0
    for text in range(len(offsets) - 1):
        first, last = offsets[text], offsets[text + 1]
        begun = count
        count = scan(data, first, last, kinds, home, american, spans, count)
        at, characters = first, 0
        for span in range(begun, count):
            for side in range(2):
                while at < spans[span, side]:
                    characters += data[at] & 0xC0 != 0x80
                    at += 1
                spans[span, side] = characters
        ends[text] = count
    return count


class Finder:
    """Finds personal data of the ``kinds`` in texts; ``countries`` are those whose national telephone numbers count."""

    def __init__(self, kinds: Collection[str], countries: Collection[str]) -> None:
        self._kinds = np.array([kind in kinds for kind in PERSONAL_KINDS])
        self._home = home_lengths(countries)
        self._american = any(country in countries for country in NORTH_AMERICA)

    def spans(self, texts: pa.Array) -> tuple[Integers, Integers]:
        """(begin, end, number of the kind) in characters, int64 [n, 3], in reading order, and int64 [texts] ends:
        those of text i stand before ``ends[i]``."""
        data, offsets = buffers(texts)
        ends = np.zeros(len(texts), np.int64)
        spans = np.empty((int(offsets[-1] - offsets[0]) // _SHORTEST + len(texts) + 1, 3), np.int64)
        count = scan_all(data, offsets, self._kinds, self._home, self._american, spans, ends)
        return spans[:count].copy(), ends

    def of(self, text: str) -> list[tuple[int, int, str]]:
        """(begin, end, kind) of what stands in one text."""
        spans, _ = self.spans(pa.array([text], pa.large_string()))
        return [(begin, end, PERSONAL_KINDS[kind]) for begin, end, kind in spans.tolist()]
