"""Shingles: the sets are those of the definition, whatever else a text is batched with."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.deduplicate import shingles
from operators.deduplicate.shingles import mix, normalise, normalised_hash, shingle_hashes, shingle_sets, shingle_slices

TEXTS = st.lists(st.text(st.sampled_from("abAÉé\u0301ßçИи語 _1.\n-\u00a0\U0001f600\u0660"), max_size=40), max_size=6)


def n_grams(text: str, n: int) -> list[tuple[str, ...]]:
    """The definition: consecutive words of the lower-cased NFC text."""
    words = re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())
    return list(zip(*(words[k:] for k in range(n)), strict=False))


def mix_of_definition(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def hash_of_definition(words: tuple[str, ...]) -> int:
    """In Python integers: a polynomial over the letters, then one over the words, each mixed."""
    hashes = [
        mix_of_definition(sum(mix_of_definition(ord(c)) * 0x9E3779B97F4A7C15**i for i, c in enumerate(word)) % 2**64)
        for word in words
    ]
    return mix_of_definition(sum(h * 0xD6E8FEB86659FD93**k for k, h in enumerate(hashes)) % 2**64)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 3), st.integers(1, 60))
def test_hashes_are_those_of_the_definition(texts: list[str], n: int, slice_characters: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shingles, "_SLICE_CHARACTERS", slice_characters)
        sets = shingle_sets(texts, n)
        slices = list(shingle_slices(texts, n))
    assert [s.tolist() for s in sets] == [
        sorted({hash_of_definition(gram) for gram in n_grams(text, n)}) for text in texts
    ]
    flat = [value for _, hashes, _ in slices for value in hashes.tolist()]
    assert flat == [hash_of_definition(gram) for text in texts for gram in n_grams(text, n)]
    assert [i for documents, _, _ in slices for i in range(len(texts))[documents]] == list(range(len(texts)))


def test_hashes_never_change() -> None:
    """Stored signatures rest on these numbers: a change needs a new version of the operators."""
    assert shingle_hashes("The quick brown fox jumps", 5).tolist() == [0x19E320C521519065]


def test_words_do_not_collide() -> None:
    words = [f"{a}{b}" for a in ("", "a", "ab", "ba", "aaaa") for b in range(40_000)]
    words += ["x" * k for k in range(1, 2000)]
    (distinct,) = shingle_sets([" ".join(words)], 1)
    assert len(distinct) == len(set(words))


def test_order_of_words_counts() -> None:
    assert not np.array_equal(shingle_hashes("one two three", 3), shingle_hashes("three two one", 3))


def test_a_long_document_needs_no_slice_of_its_own_size() -> None:
    text = " ".join(f"word{i}" for i in range(60_000))
    assert len(text) > 2 * shingles._SLICE_CHARACTERS
    joined = shingle_sets(["first of all a short one", text, "and last another short one"], 5)
    assert len(joined[1]) == 60_000 - 4
    assert [len(joined[0]), len(joined[2])] == [2, 1]


@pytest.mark.parametrize("text", ["", " ", "...", "one two three four", "語" * 300])
def test_fewer_words_than_n_have_no_shingles(text: str) -> None:
    assert shingle_hashes(text, 5).tolist() == []


def test_normalised_hash_ignores_form_and_keeps_content() -> None:
    text = "Der Café-Löffel,\nliegt dort."
    same = [
        unicodedata.normalize("NFD", text),
        "\ufeff" + text,
        text.upper(),
        "  Der Café-Löffel,\u00a0 liegt\t\r\ndort.\n",
    ]
    assert {normalised_hash(other) for other in same} == {normalised_hash(text)}
    assert normalised_hash(text) != normalised_hash(text.replace(",", ""))
    assert normalised_hash("ab c") != normalised_hash("a bc")
    assert re.fullmatch("[0-9a-f]{32}", normalised_hash(""))
    assert normalise("E\u0301") == "é"


def test_mix_is_splitmix64() -> None:
    values = [0, 1, 2**63, 2**64 - 1]
    assert mix(np.array(values, np.uint64)).tolist() == [mix_of_definition(value) for value in values]
    assert mix_of_definition(0) == 0xE220A8397B1DCDAF  # first output of the published generator for seed 0
