"""The exact truth about near-duplicates, by definition: Python's regular expressions, sets of words, and a join.

Similarity is the Jaccard similarity of the sets of word 5-grams of the text in NFC and lower case, where a letter of a
script without spaces counts as a word. Nothing here is shared with the operator but the list of those scripts. The join
finds every pair of at least a threshold: an inverted index over the rarest shingles of each set (prefix and length
filter: Chaudhuri et al. 2006, Xiao et al. 2008), then an exact merge.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from operators.deduplicate.characters import UNSPACED

NGRAM = 5

_SPACED = re.compile(r"\w+")


@cache
def word() -> re.Pattern[str]:
    """A word: a letter, mark or digit of a script without spaces, or a run of other word characters."""
    alone = [
        code for start, end in UNSPACED for code in range(start, end + 1) if unicodedata.category(chr(code))[0] in "LMN"
    ]
    ranges = "".join(f"{chr(first)}-{chr(last)}" for first, last in _runs(alone))
    return re.compile(f"[{ranges}]|[^\\W{ranges}]+")


def _runs(codes: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges."""
    runs: list[tuple[int, int]] = []
    for code in codes:
        if runs and runs[-1][1] == code - 1:
            runs[-1] = (runs[-1][0], code)
        else:
            runs.append((code, code))
    return runs


def words(text: str) -> list[str]:
    """The words of a text."""
    text = unicodedata.normalize("NFC", text.removeprefix("\ufeff")).lower()
    spaced = not text or max(text) < chr(UNSPACED[0][0])
    return _SPACED.findall(text) if spaced else word().findall(text)


def shingles(text: str) -> set[str]:
    """Its word 5-grams; none where it has fewer than five words."""
    found = words(text)
    return {" ".join(found[i : i + NGRAM]) for i in range(len(found) - NGRAM + 1)}


def jaccard(one: set[Any], other: set[Any]) -> float:
    """Of two empty sets 0."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if one or other else 0.0


def hashed(text: str, ids: dict[str, int]) -> np.ndarray:
    """The shingles as distinct 64-bit hashes; ``ids`` numbers the words met so far."""
    numbers = np.array([ids.setdefault(word, _number(word)) for word in words(text)], np.uint64)
    if len(numbers) < NGRAM:
        return np.empty(0, np.uint64)
    total = np.zeros(len(numbers) - NGRAM + 1, np.uint64)
    for k in range(NGRAM):
        total = (total ^ (numbers[k : k + len(total)] + np.uint64(k))) * np.uint64(0x9FB21C651E98DF25)
        total ^= total >> np.uint64(28)
    return np.unique(total)


def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def similar_pairs(texts: list[str], threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of texts with at least ``threshold``: (one, other, similarity, group).

    Texts with equal sets are folded: ``group`` holds for each the first of its set, and pairs name those; -1 is a text
    without shingles.
    """
    ids: dict[str, int] = {}
    sets = [hashed(text, ids) for text in texts]
    first: dict[bytes, int] = {}
    group = np.full(len(sets), -1, np.int64)
    for i, found in enumerate(sets):
        if len(found):
            group[i] = first.setdefault(hashlib.blake2b(found.tobytes(), digest_size=16).digest(), i)
    distinct = np.flatnonzero(group == np.arange(len(sets)))
    distinct = distinct[np.argsort([len(sets[i]) for i in distinct], kind="stable")]
    offsets = np.concatenate([[0], np.cumsum([len(sets[i]) for i in distinct])]).astype(np.int64)
    flat = np.concatenate([np.empty(0, np.uint64), *(sets[i] for i in distinct)])
    del sets
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))  # the rarest first
    tokens = rank[inverse]
    for i in range(len(distinct)):
        tokens[offsets[i] : offsets[i + 1]].sort()
    one, other, similarity = _join(tokens, offsets, len(counts), threshold)
    return distinct[np.array(one, np.int64)], distinct[np.array(other, np.int64)], np.array(similarity), group


@njit(cache=True)
def _join(tok, off, ntok, thr):
    n = len(off) - 1
    head = np.full(ntok, -1, np.int64)
    cap = 0
    for i in range(n):
        m = off[i + 1] - off[i]
        cap += m - int(np.ceil(thr * m)) + 1
    nxt = np.empty(cap, np.int64)
    own = np.empty(cap, np.int64)
    used = 0
    seen = np.full(n, -1, np.int64)
    res_a, res_b, res_j = [0], [0], [0.0]
    for i in range(n):
        s, e = off[i], off[i + 1]
        m = e - s
        p = m - int(np.ceil(thr * m)) + 1
        for q in range(s, s + p):
            ptr = head[tok[q]]
            while ptr >= 0:
                j = own[ptr]
                mj = off[j + 1] - off[j]
                if mj < thr * m:  # posting lists run from long to short sets
                    break
                if seen[j] != i:
                    seen[j] = i
                    x, y, inter = s, off[j], 0
                    ye = off[j + 1]
                    need = thr / (1 + thr) * (m + mj) - 1e-9
                    while x < e and y < ye:
                        if inter + min(e - x, ye - y) < need:
                            break
                        if tok[x] == tok[y]:
                            inter += 1
                            x += 1
                            y += 1
                        elif tok[x] < tok[y]:
                            x += 1
                        else:
                            y += 1
                    jac = inter / (m + mj - inter)
                    if jac >= thr:
                        res_a.append(j)
                        res_b.append(i)
                        res_j.append(jac)
                ptr = nxt[ptr]
        for q in range(s, s + p):
            own[used] = i
            nxt[used] = head[tok[q]]
            head[tok[q]] = used
            used += 1
    return res_a[1:], res_b[1:], res_j[1:]


def kept_by_rule(lengths: np.ndarray, group: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The keep rule on the truth, over texts with shingles: in the order of length, then of row, a text is kept unless
    a kept one is in its group or in a group that is similar to it. Returns bool (texts); False without shingles."""
    near: dict[int, list[int]] = {}
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    kept, taken = np.zeros(len(group), np.bool_), set()
    for i in np.lexsort((np.arange(len(group)), -lengths)).tolist():
        mine = int(group[i])
        if mine >= 0 and mine not in taken and not any(g in taken for g in near.get(mine, ())):
            kept[i] = True
            taken.add(mine)
    return kept
