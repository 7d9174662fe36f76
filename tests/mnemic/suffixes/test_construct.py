"""The order of places against a sort of the reversed texts, by libdivsufsort and by prefix doubling."""

from __future__ import annotations

import importlib.util
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import BankError
from mnemic.suffixes import construct
from mnemic.suffixes.construct import code_bounds, sorted_places
from mnemic.suffixes.ranks import LARGEST_TOKEN

TYPES = (np.uint16, np.uint32)


def joined(texts: list[list[int]], kind: type[np.generic]) -> tuple[np.ndarray, int]:
    separator = int(np.iinfo(kind).max)
    return np.array([token for text in texts for token in (*text, separator)], kind), separator


def by_hand(tokens: np.ndarray, separator: int) -> list[int]:
    flat = tokens.tolist()
    frequent = Counter(token for token in flat if token != separator).most_common()
    ordered = sorted(frequent, key=lambda entry: (-entry[1], entry[0]))
    ranks = {token: rank for rank, (token, _) in enumerate(ordered)} | {separator: len(ordered)}
    behind = [place for place in range(1, len(flat)) if flat[place - 1] != separator]
    return sorted(behind, key=lambda place: [ranks[token] for token in flat[:place][::-1]])


SMALL = st.integers(0, 3)
LARGE = st.sampled_from([0, 1, 255, 256, 300, 65_534])


@settings(max_examples=80)
@given(st.lists(st.lists(SMALL | LARGE, max_size=12), max_size=6), st.sampled_from(TYPES))
def test_it_is_the_order_of_the_reversed_texts(texts, kind):
    tokens, separator = joined(texts, kind)
    assert sorted_places(tokens, separator).tolist() == by_hand(tokens, separator)


@pytest.mark.parametrize("size", [2, 255, 256, 257, 25_579, 49_152, 65_536, 65_537, 262_144, LARGEST_TOKEN])
def test_codes_are_enough_and_in_order(size):
    short, first = code_bounds(size)
    two = short + (first - short) * 256
    assert 0 <= short <= first <= 256 and size <= two + (256 - first) * 65_536
    numbers = np.unique(np.clip([0, 1, short - 1, short, short + 1, two - 1, two, two + 1, size - 1], 0, size - 1))
    codes = []
    for number in numbers.tolist():
        ranks = np.arange(size - 1, dtype=np.int32)
        token, codes_of = np.array([min(number, size - 2)], np.uint32), np.zeros(3, np.uint8)
        separator = int(token[0]) if number == size - 1 else (1 << 32) - 1
        bytes_ = construct._code_bytes(token, ranks, size - 1, separator, short, first)
        construct._encode(token, ranks, size - 1, separator, short, first, codes_of, np.zeros(1, np.uint64))
        codes.append(codes_of[:bytes_].tobytes())
    assert codes == sorted(codes) and len(set(codes)) == len(codes)
    assert not any(one != other and other.startswith(one) for one in codes for other in codes)


def test_more_tokens_than_two_bytes_can_say_are_in_their_order(monkeypatch):
    draw = np.random.default_rng(1)
    many = draw.permutation(70_000)
    tokens, separator = joined(
        [many.tolist(), [*many[:500].tolist(), 5, 5, 5, *many[60_000:60_300].tolist()]], np.uint32
    )
    expected = sorted_places(tokens, separator)
    monkeypatch.setattr(construct, "can_compile", lambda: False)
    assert np.array_equal(sorted_places(tokens, separator), expected)
    without_library(monkeypatch)
    assert np.array_equal(sorted_places(tokens, separator), expected)


def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pydivsufsort" else find(name))


@pytest.mark.parametrize("kind", TYPES)
def test_without_the_library_and_without_numba_it_is_the_same(kind, monkeypatch):
    draw = np.random.default_rng(2)
    repeated = draw.integers(0, 4, 40).tolist()
    texts = [draw.integers(0, 50, 300).tolist(), repeated * 6, [], repeated * 3, [5]]
    tokens, separator = joined(texts, kind)
    expected = sorted_places(tokens, separator).tolist()
    monkeypatch.setattr(construct, "can_compile", lambda: False)
    assert sorted_places(tokens, separator).tolist() == expected
    without_library(monkeypatch)
    assert sorted_places(tokens, separator).tolist() == expected


def test_nothing_has_no_places():
    assert sorted_places(np.empty(0, np.uint16), 65_535).tolist() == []
    assert sorted_places(np.array([65_535], np.uint16), 65_535).tolist() == []


def test_a_token_of_no_vocabulary_is_refused():
    with pytest.raises(BankError, match="no vocabulary"):
        sorted_places(np.array([1 << 24, (1 << 32) - 1], np.uint32), (1 << 32) - 1)
