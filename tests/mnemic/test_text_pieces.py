"""Pieces of texts are looked for by hashes: as many are met as a search of strings meets, wherever they begin."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.text_pieces import TextPieces, characters, hashes, numbers

TEXTS = st.lists(st.text(alphabet="ab éß\U0001f600", max_size=30), max_size=5)


def windows(texts, width):
    return {text[start : start + width] for text in texts for start in range(len(text) - width + 1)}


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 26))
def test_equal_runs_have_equal_hashes_and_others_do_not(symbols, width):
    values = hashes(np.array(symbols, np.uint64), width)
    runs = [tuple(symbols[start : start + width]) for start in range(len(symbols) - width + 1)]
    assert len(values) == len(runs)
    assert len(set(values.tolist())) == len(set(runs))
    assert len(set(zip(values.tolist(), runs, strict=True))) == len(set(runs))


@settings(max_examples=200)
@given(TEXTS, TEXTS, st.integers(1, 6))
def test_pieces_are_those_of_the_definition(erased, column, width):
    pieces = TextPieces.of(width, [characters(pa.array(erased, pa.string()))])
    assert len(pieces) == len(windows(erased, width)), "no run goes over the end of a text"
    seen = pieces.seen(characters(pa.array(column, pa.large_string())))
    assert seen.sum() == len(windows(erased, width) & windows(column, width))
    assert len(pieces.without(seen)) == len(windows(erased, width) - windows(column, width))


@given(st.lists(st.lists(st.integers(0, 5), max_size=9), max_size=6))
def test_runs_of_tokens_end_with_their_list(lists):
    pieces = TextPieces.of(3, [numbers(pa.array(lists, pa.list_(pa.uint16())))])
    assert len(pieces) == len({tuple(one[at : at + 3]) for one in lists for at in range(len(one) - 2)})


def test_of_very_many_some_are_left_out_and_a_longer_run_is_met_all_the_same(monkeypatch):
    monkeypatch.setattr("mnemic.text_pieces.MOST", 10)
    text = "the quick brown fox jumps over the lazy dog"
    pieces = TextPieces.of(4, [characters(pa.array([text]))])
    assert len(pieces) <= 10 and pieces.step == 4
    for start in range(len(text) - 7):
        assert pieces.seen(characters(pa.array([f"xx{text[start : start + 7]}yy"]))).any()
