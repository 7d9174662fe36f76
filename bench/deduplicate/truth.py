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
import numpy.typing as npt
from numba import njit

from mnemic.words import UNSPACED

NGRAM = 5

Ints = npt.NDArray[np.int64]

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
    sequence = words(text)
    return {" ".join(sequence[i : i + NGRAM]) for i in range(len(sequence) - NGRAM + 1)}


def jaccard(one: set[Any], other: set[Any]) -> float:
    """Of two empty sets 0."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if one or other else 0.0


def hashed(text: str, ids: dict[str, int]) -> npt.NDArray[np.uint64]:
    """The shingles as distinct 64-bit hashes, uint64 [shingles], ascending; ``ids`` numbers the words met so far."""
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


def similar_pairs(texts: list[str], threshold: float) -> tuple[Ints, Ints, npt.NDArray[np.float64], Ints]:
    """Every pair of texts with at least ``threshold``: (one, other, similarity), each [pairs], and group [texts].

    ``one`` and ``other`` are int64 numbers of texts, ``similarity`` is float64. Texts with equal sets are folded:
    ``group``, int64, holds for each the first of its set, and pairs name those; -1 is a text without shingles.
    """
    ids: dict[str, int] = {}
    sets = [hashed(text, ids) for text in texts]
    first: dict[bytes, int] = {}
    group = np.full(len(sets), -1, np.int64)
    for i, members in enumerate(sets):
        if len(members):
            group[i] = first.setdefault(hashlib.blake2b(members.tobytes(), digest_size=16).digest(), i)
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


@njit(cache=True)  # type: ignore[untyped-decorator]
def _join(tokens: Any, offsets: Any, vocabulary: Any, threshold: Any) -> Any:
    """Pairs of at least ``threshold`` among sets of ``tokens``, int64, ascending: ``offsets[i]`` begins the i-th.

    Sets come from short to long, so the lists of those that hold a token run from long to short.
    """
    count = len(offsets) - 1
    heads = np.full(vocabulary, -1, np.int64)  # of each token the newest entry, which names the one before it
    entries = 0
    for i in range(count):
        size = offsets[i + 1] - offsets[i]
        entries += size - int(np.ceil(threshold * size)) + 1
    following = np.empty(entries, np.int64)
    owner = np.empty(entries, np.int64)
    used = 0
    met = np.full(count, -1, np.int64)
    ones, others, similarities = [0], [0], [0.0]
    for i in range(count):
        begin, end = offsets[i], offsets[i + 1]
        size = end - begin
        prefix = begin + size - int(np.ceil(threshold * size)) + 1
        for place in range(begin, prefix):
            entry = heads[tokens[place]]
            while entry >= 0:
                j = owner[entry]
                other_size = offsets[j + 1] - offsets[j]
                if other_size < threshold * size:
                    break
                if met[j] != i:
                    met[j] = i
                    x, y, y_end, common = begin, offsets[j], offsets[j + 1], 0
                    least = threshold / (1 + threshold) * (size + other_size) - 1e-9
                    while x < end and y < y_end:
                        if common + min(end - x, y_end - y) < least:
                            break
                        if tokens[x] == tokens[y]:
                            common += 1
                            x += 1
                            y += 1
                        elif tokens[x] < tokens[y]:
                            x += 1
                        else:
                            y += 1
                    similarity = common / (size + other_size - common)
                    if similarity >= threshold:
                        ones.append(j)
                        others.append(i)
                        similarities.append(similarity)
                entry = following[entry]
        for place in range(begin, prefix):
            owner[used] = i
            following[used] = heads[tokens[place]]
            heads[tokens[place]] = used
            used += 1
    return ones[1:], others[1:], similarities[1:]


def kept_by_rule(lengths: Ints, group: Ints, one: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """The keep rule on the truth: bool [texts], False without shingles.

    In the order of ``lengths``, then of row, a text is kept unless a kept one is in its ``group`` or in a group that is
    similar to it, which the pairs (``one``, ``other``) say.
    """
    near: dict[int, list[int]] = {}
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    keepers, kept_groups = np.zeros(len(group), np.bool_), set()
    for i in np.lexsort((np.arange(len(group)), -lengths)).tolist():
        own = int(group[i])
        if (
            own >= 0
            and own not in kept_groups
            and not any(group_near in kept_groups for group_near in near.get(own, ()))
        ):
            keepers[i] = True
            kept_groups.add(own)
    return keepers
