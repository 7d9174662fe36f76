"""Keys and tokens, in bytes: by the prefixes of services, as private keys, and by looking drawn at random.

The entropy of a run of n characters with counts c is log2 n - sum(c log2 c) / n bits a character. It is summed in whole
numbers, so it is the same on every machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mnemic.compiled import compiled
from operators.pii.bytes_of import CLASSES, DIGIT, LETTER, LOWER, RUN, UPPER, VALUE, is_of

PREFIXES: dict[str, int] = {
    **{"AKIA": 16, "ASIA": 16, "AIza": 30, "ghp_": 30, "gho_": 30, "ghu_": 30, "ghs_": 30, "ghr_": 30, "hf_": 30},
    **{"github_pat_": 22, "glpat-": 18, "xoxb-": 20, "xoxp-": 20, "xoxa-": 20, "xoxr-": 20, "xoxs-": 20, "xapp-": 20},
    **{"sk-": 20, "sk_live_": 16, "sk_test_": 16, "rk_live_": 16, "pk_live_": 16, "pk_test_": 16, "whsec_": 20},
    **{"npm_": 30, "pypi-": 40, "dop_v1_": 40, "shpat_": 30, "shpss_": 30, "glsa_": 30, "PMAK-": 30, "lin_api_": 30},
    **{"sq0atp-": 20, "sq0csp-": 20, "EAAC": 40, "rubygems_": 30, "dckr_pat_": 20, "tfp_": 30, "figd_": 30},
}
"""Prefix of a token -> characters that follow it, at least. AKIA is Amazon's, ghp_ GitHub's, xoxb- Slack's."""

_WORDS = ("secret", "token", "passw", "pwd", "apikey", "api_key", "api-key", "accesskey", "access_key", "private_key")
"""In a name before = or :, they say that its value is a secret."""

_LONGEST, _VALUE = 512, 200
"""Characters of a token, and of a value that may look drawn."""

_SCALE = 1 << 20


def _bytes(words: Any) -> Any:
    table = np.zeros((len(words), 16), np.uint8)
    for place, word in enumerate(words):
        table[place, : len(word)] = list(word.encode())
    return table


_PREFIX, _NAMES = _bytes(list(PREFIXES)), _bytes(_WORDS)
_REST = np.array(list(PREFIXES.values()), np.int64)
_BEGINNINGS = np.isin(np.arange(256), _PREFIX[:, 0])
_WEIGHTS = np.array([0, *(round(n * math.log2(n) * _SCALE) for n in range(1, _LONGEST + 1))], np.int64)
"""n log2 n, in parts of `_SCALE`."""


@compiled
def _stands(data: Any, at: int, last: int, words: Any, place: int, small: bool) -> int:
    """The length of the word ``place`` of ``words`` if it stands at ``at``, in ``small`` letters; else 0."""
    size = 0
    while size < words.shape[1] and words[place, size]:
        if at + size >= last:
            return 0
        code = data[at + size]
        if small and CLASSES[code] & UPPER:
            code |= 32
        if code != words[place, size]:
            return 0
        size += 1
    return size


@compiled
def drawn(data: Any, begin: int, end: int, bits: float) -> Any:
    """Whether a run has letters, two digits, and ``bits`` of entropy a character, at least."""
    counts = np.zeros(256, np.int64)
    digits, upper, lower = 0, 0, 0
    for at in range(begin, end):
        code = data[at]
        counts[code] += 1
        digits += CLASSES[code] & DIGIT != 0
        upper += CLASSES[code] & UPPER != 0
        lower += CLASSES[code] & LOWER != 0
    size = end - begin
    total = _WEIGHTS[size]
    for code in range(256):
        total -= _WEIGHTS[counts[code]]
    mixed = (upper >= 2 and lower >= 2) or bits < 4
    return digits >= 2 and upper + lower >= 2 and mixed and total >= np.int64(bits * _SCALE) * size


@compiled
def token(data: Any, at: int, first: int, last: int) -> int:
    """The end of the token or drawn value that begins at ``at``, where no character of a run stands before; else 0."""
    end = at
    while is_of(data, end, first, last, RUN):
        end += 1
    size = end - at
    if size < 8:
        return 0
    if size <= _LONGEST and _BEGINNINGS[data[at]]:
        for place in range(len(_REST)):
            length = _stands(data, at, last, _PREFIX, place, False)
            if length and size >= length + _REST[place]:
                return end
    if data[at] == 101 and data[at + 1] == 121 and data[at + 2] == 74 and end < last and data[end] == 46:
        return _signed(data, end, first, last)
    if size <= _VALUE and size >= 32 and drawn(data, at, end, 4.4):
        return end
    return 0


@compiled
def _signed(data: Any, dot: int, first: int, last: int) -> int:
    """The end of a JSON web token whose first part ends at ``dot``."""
    end = dot
    for part in range(2):
        begin = end + 1
        end = begin
        while end - begin < 8192 and is_of(data, end, first, last, RUN):
            end += 1
        if end - begin < 8 or (part == 0 and (end >= last or data[end] != 46)):
            return 0
    return end


@compiled
def value(data: Any, at: int, first: int, last: int) -> tuple[int, int]:
    """The range of the secret that is set by the = or : at ``at``, such as `api_key = "..."`; (0, 0) for none."""
    name = at
    while name > first and at - name < 4 and (data[name - 1] == 32 or data[name - 1] == 34 or data[name - 1] == 39):
        name -= 1
    begin = name
    while begin > first and name - begin < 40 and is_of(data, begin - 1, first, last, RUN):
        begin -= 1
    named = False
    for place in range(begin, name):
        for word in range(len(_NAMES)):
            named |= _stands(data, place, name, _NAMES, word, True) > 0
    if not named:
        return 0, 0
    begin = at + 1
    while begin < last and begin - at < 5 and (data[begin] == 32 or data[begin] == 34 or data[begin] == 39):
        begin += 1
    end = begin
    while end - begin <= _VALUE and is_of(data, end, first, last, VALUE):
        end += 1
    size = end - begin
    while end > begin and (data[end - 1] == 46 or data[end - 1] == 45):
        end -= 1
    if size > _VALUE or end - begin < 10 or not drawn(data, begin, end, 2.9):
        return 0, 0
    return begin, end


@compiled
def private_key(data: Any, at: int, first: int, last: int) -> int:
    """The end of the block of a private key in PEM whose -----BEGIN is at ``at``; else 0."""
    if last - at < 26 or (at > first and data[at - 1] == 45):
        return 0
    for place in range(5):
        if data[at + place] != 45:
            return 0
    if not (data[at + 5] == 66 and data[at + 6] == 69 and data[at + 7] == 71 and data[at + 8] == 73):
        return 0
    place, secret = at + 9, False
    while place < last and place - at < 48 and data[place] != 45:
        secret |= data[place] == 80 and place + 6 < last and data[place + 1] == 82 and data[place + 6] == 69
        place += 1
    if not secret:
        return 0
    while place < last and data[place] == 45:
        place += 1
    while place < last:  # the next five hyphens end it, whatever they are of
        if data[place] == 45 and place + 4 < last and data[place + 4] == 45 and data[place + 2] == 45:
            break
        if not (CLASSES[data[place]] & (VALUE | LETTER) or data[place] in (10, 13, 32, 58, 44, 92)):
            return place
        place += 1
    if place + 8 < last and data[place + 5] == 69 and data[place + 6] == 78 and data[place + 7] == 68:
        place += 8
        while place < last and data[place] != 45 and data[place] != 10:
            place += 1
        while place < last and data[place] == 45:
            place += 1
    return place
