"""The order of places against a sort of the reversed texts, by libdivsufsort and by prefix doubling."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.suffixes import construct
from mnemic.suffixes.construct import sorted_places

TYPES = (np.uint16, np.uint32)


def joined(texts: list[list[int]], kind: type[np.generic]) -> tuple[np.ndarray, int]:
    separator = int(np.iinfo(kind).max)
    return np.array([token for text in texts for token in (*text, separator)], kind), separator


def by_hand(tokens: np.ndarray, separator: int) -> list[int]:
    flat = tokens.tolist()
    behind = [place for place in range(1, len(flat)) if flat[place - 1] != separator]
    return sorted(behind, key=lambda place: flat[:place][::-1])


SMALL = st.integers(0, 3)
LARGE = st.sampled_from([0, 1, 255, 256, 300, 65_534])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(SMALL | LARGE, max_size=12), max_size=6), st.sampled_from(TYPES))
def test_it_is_the_order_of_the_reversed_texts(texts, kind):
    tokens, separator = joined(texts, kind)
    assert sorted_places(tokens, separator).tolist() == by_hand(tokens, separator)


@pytest.mark.parametrize("largest", [1 << 10, 1 << 20, (1 << 24) - 2, (1 << 24) - 1, (1 << 32) - 2])
def test_tokens_of_three_and_of_four_bytes_are_in_their_order(largest):
    draw = np.random.default_rng(1)
    texts = [draw.choice([0, 1, 257, largest], 50).tolist() for _ in range(4)]
    tokens, separator = joined(texts, np.uint32)
    assert sorted_places(tokens, separator).tolist() == by_hand(tokens, separator)


@pytest.mark.parametrize("kind", TYPES)
def test_without_the_library_and_without_numba_it_is_the_same(kind, monkeypatch):
    draw = np.random.default_rng(2)
    repeated = draw.integers(0, 4, 40).tolist()
    texts = [draw.integers(0, 50, 300).tolist(), repeated * 6, [], repeated * 3, [5]]
    tokens, separator = joined(texts, kind)
    expected = sorted_places(tokens, separator).tolist()
    monkeypatch.setattr(construct, "can_compile", lambda: False)
    assert sorted_places(tokens, separator).tolist() == expected
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pydivsufsort" else find(name))
    assert sorted_places(tokens, separator).tolist() == expected


def test_nothing_has_no_places():
    assert sorted_places(np.empty(0, np.uint16), 65_535).tolist() == []
    assert sorted_places(np.array([65_535], np.uint16), 65_535).tolist() == []
