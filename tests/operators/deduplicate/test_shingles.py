"""Shingles: the sets are those of the definition, whatever else a text is batched with."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.deduplicate.truth import word
from mnemic.errors import RecipeError
from operators.deduplicate import shingles
from operators.deduplicate.characters import code_points
from operators.deduplicate.shingles import Shingler, normalise, slices
from operators.deduplicate.words import mix_all

LETTERS = "abAÉé\u0301ßçИи語のกั _1.\n-\u00a0\U0001f600\u0660İΣσς\u0323\u0307ᄀ\u1161가"
TEXTS = st.lists(st.text(st.sampled_from(LETTERS), max_size=40), max_size=6)


def words_of(text: str, unspaced: str) -> list[str]:
    """The definition: runs of word characters of the lower-cased NFC text; letters of unspaced scripts each alone."""
    text = unicodedata.normalize("NFC", text.removeprefix("\ufeff")).lower()
    if unspaced == "words":
        return re.findall(r"\w+", text)
    return word().findall(text)


def n_grams(text: str, n: int, unspaced: str = "characters") -> list[tuple[str, ...]]:
    words = words_of(text, unspaced)
    return list(zip(*(words[k:] for k in range(n)), strict=False))


def mix_of_definition(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def polynomial(values: list[int], base: int) -> int:
    total = 0
    for value in values:
        total = (total * base + value) % 2**64
    return total


def hash_of_definition(words: tuple[str, ...]) -> int:
    """In Python integers: a polynomial over the letters, then one over the words, each mixed."""
    letters = [[mix_of_definition(ord(letter)) for letter in word] for word in words]
    hashes = [mix_of_definition(polynomial(values, 0x9E3779B97F4A7C15)) for values in letters]
    return mix_of_definition(polynomial(hashes, 0xA0761D6478BD642F))


def strings(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


@settings(max_examples=150)
@given(TEXTS, st.integers(1, 3), st.sampled_from(["characters", "words"]))
def test_hashes_are_those_of_the_definition(texts: list[str], n: int, unspaced: str) -> None:
    tokenizer = Shingler(n, unspaced)
    hashes, bounds = tokenizer.shingles(strings(texts))
    assert [hashes[a:b].tolist() for a, b in pairwise(bounds)] == [
        [hash_of_definition(gram) for gram in n_grams(text, n, unspaced)] for text in texts
    ]
    assert [hashes_of_text.tolist() for hashes_of_text in tokenizer.distinct(strings(texts))] == [
        list(dict.fromkeys(hash_of_definition(gram) for gram in n_grams(text, n, unspaced))) for text in texts
    ]


def test_the_table_says_what_python_s_characters_are() -> None:
    table = code_points().tolist()
    for code in [*range(0x3000), *range(0x3400, 0x110000, 61), *range(0xA000, 0xABFF), *range(0x1D000, 0x1E000)]:
        character, entry = chr(code), table[code]
        lower = character.lower()
        assert bool(entry & 1 << 30) == character.isspace(), hex(code)
        assert bool(entry & 1 << 29) == (character.isalnum() or character == "_"), hex(code)
        assert entry & 0x1FFFFF == (ord(lower) if len(lower) == 1 and character != "Σ" else code), hex(code)
        assert entry >> 21 & 0xFF == unicodedata.combining(character)
        if unicodedata.normalize("NFC", character) != character or len(lower) > 1:
            assert entry & 1 << 31, hex(code)


@settings(max_examples=150)
@given(st.text(max_size=30), st.sampled_from(["NFC", "NFD", "NFKD"]))
def test_any_unicode_form_gives_the_same_words(text: str, form: str) -> None:
    text = unicodedata.normalize("NFKC", text)
    other = unicodedata.normalize(form, text)
    expected = unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", other)
    one, another = Shingler(1).distinct(strings([text, other]))
    assert not expected or one.tolist() == another.tolist()


def test_hashes_never_change() -> None:
    """Stored signatures rest on these numbers: a change needs a new version of the tokenizer."""
    (hashes,) = Shingler().distinct(strings(["The quick brown fox jumps"]))
    assert hashes.tolist() == [hash_of_definition(("the", "quick", "brown", "fox", "jumps"))] == [0xE8FA151DFCEDEABF]


def test_words_do_not_collide() -> None:
    words = [f"{a}{b}" for a in ("", "a", "ab", "ba", "aaaa") for b in range(40_000)]
    words += ["x" * k for k in range(1, 2000)]
    (distinct,) = Shingler(1).distinct(strings([" ".join(words)]))
    assert len(distinct) == len(set(words))


def test_order_of_words_counts() -> None:
    one, other = Shingler(3).distinct(strings(["one two three", "three two one"]))
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("text", ["", " ", "...", "one two three four", "語の本文"])
def test_fewer_words_than_n_have_no_shingles(text: str) -> None:
    assert Shingler(5).distinct(strings([text]))[0].tolist() == []


def test_scripts_without_spaces_are_cut_into_letters() -> None:
    text = "東京の天気は晴れです、明日は雨です"
    assert len(Shingler(5).distinct(strings([text]))[0]) == 12
    assert len(Shingler(5, "words").distinct(strings([text]))[0]) == 0
    assert words_of("Python言語3", "characters") == ["python", "言", "語", "3"]


def test_slices_of_arrays_and_kinds_of_strings_are_read_alike() -> None:
    texts = [f"text number {i} has é and some more words" for i in range(50)]
    whole = Shingler(2).distinct(strings(texts))
    for array in (strings(texts)[10:20], pa.array(texts)[10:20], strings(["x"] * 3 + texts)[13:23]):
        assert [one.tolist() for one in Shingler(2).distinct(array)] == [one.tolist() for one in whole[10:20]]
    parts = list(slices(strings(texts), 100))
    assert len(parts) > 20 and pa.concat_arrays(parts).to_pylist() == texts
    assert list(slices(strings([]))) == [] and Shingler().distinct(strings([])) == []


def test_bytes_that_are_no_utf_8_do_no_harm() -> None:
    broken = [b"a b c d e \xf8\xbf\xbf\xbf\xbf", b"\xff" * 9, b"a b c d e \xe3\x81", b"\xf4\xbf\xbf\xbf"]
    hashes, bounds = Shingler(2).shingles(_unchecked(broken))
    assert len(bounds) == 5 and len(hashes) == bounds[-1]


def _unchecked(values: list[bytes]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int64)
    return pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(values)))


def test_whole_texts_are_told_apart_by_all_but_form_case_and_white_space() -> None:
    text = "Der Café-Löffel,\nliegt dort."
    same = [
        text,
        unicodedata.normalize("NFD", text),
        "\ufeff" + text,
        text.upper(),
        "\u00a0 Der Café-Löffel,\u00a0 liegt\t\r\ndort.\n",
    ]
    other = [
        text.replace(",", ""),
        text.replace("-", " - "),
        text.replace("Löffel", "löffel "),
        "ab c",
        "a bc",
        "",
        ".",
    ]
    forms, _ = Shingler().signatures(strings([*same, *other]), 8, 1)
    groups = [tuple(form) for form in forms.tolist()]
    assert len(set(groups[: len(same)])) == 1
    assert len(set(groups)) == 1 + len(other)
    assert normalise("E\u0301") == "é"


def test_mix_is_splitmix64() -> None:
    values = [0, 1, 2**63, 2**64 - 1]
    assert mix_all(np.array(values, np.uint64)).tolist() == [mix_of_definition(value) for value in values]
    assert mix_of_definition(0) == 0xE220A8397B1DCDAF  # first output of the published generator for seed 0


def test_impossible_tokenizers_are_refused() -> None:
    with pytest.raises(RecipeError, match="at least 1 word"):
        Shingler(0)
    with pytest.raises(RecipeError, match='use "characters"'):
        Shingler(5, "letters")


@given(st.text(st.sampled_from("aé\u0316\u0301\u0323 ")), st.integers(0, 4))
def test_marks_are_put_in_order_unless_there_are_very_many(text: str, repeats: int) -> None:
    assert normalise(text * repeats) == unicodedata.normalize("NFC", text * repeats).lower()


@given(st.lists(st.text(st.sampled_from("a\u0316\u0301"), max_size=30), max_size=12), st.integers(1, 7))
def test_runs_of_marks_are_cut_where_they_are_too_long(parts: list[str], longest: int) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shingles, "_MARKS", longest)
        pieces = list(shingles._between_marks(text))
        assert normalise(text) == "".join(unicodedata.normalize("NFC", piece) for piece in pieces).lower()
    assert "".join(pieces) == text
    assert not any(re.search(f"[\u0316\u0301]{{{2 * longest}}}", piece) for piece in pieces)
    for before, after in pairwise(pieces):
        assert re.search(f"[\u0316\u0301]{{{longest}}}$", before), (before, after)
