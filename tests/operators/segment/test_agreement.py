"""Pk, WindowDiff and F1 against their literal definitions and against numbers computed once with segeval and nltk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.segment.agreement import boundary_f1, density, half_mean_length, pk, window_diff


def flags(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.integers(1, 12))
def test_shares_are_those_of_nltk(pairs: list[tuple[bool, bool]], window: int) -> None:
    """nltk.metrics.segmentation, transcribed: it slides over the string of gaps."""
    cuts, reference = (np.array(side) for side in zip(*pairs, strict=True))
    strings = ["".join("1" if flag else "0" for flag in side) for side in (reference, cuts)]
    places = range(len(cuts) - window + 1)
    counts = [[side[place : place + window].count("1") for place in places] for side in strings]
    if not counts[0]:
        assert np.isnan(pk(cuts, reference, window)) and np.isnan(window_diff(cuts, reference, window))
        return
    wrong = sum((one > 0) != (other > 0) for one, other in zip(*counts, strict=True))
    other = sum(one != other for one, other in zip(*counts, strict=True))
    assert pk(cuts, reference, window) == pytest.approx(wrong / len(places), abs=1e-12)
    assert window_diff(cuts, reference, window) == pytest.approx(other / len(places), abs=1e-12)


# What segeval 2.0.11 says with its own windows, and nltk 3.10.4 with the same ones.
KNOWN = [
    ("0010010000000000000001000", "0001000000000000000100000", 3 / 11, 7 / 22),
    ("0010100001000000000", "1100100000000100000", 1 / 3, 1 / 3),
    ("000100000000000000", "100000000010110100", 10 / 17, 10 / 17),
    ("0000010000000000000001000000", "0000000100000110000000000000", 13 / 25, 13 / 25),
    ("10001000000000000000001", "10001100100100010000101", 9 / 22, 5 / 11),
    ("000100010111000", "100000000000000", 11 / 12, 11 / 12),
    ("0110100010101010", "0001100000001101", 2 / 5, 8 / 15),
    ("0000010000000110", "0010010011011110", 7 / 15, 8 / 15),
    ("10000000100", "10000000000", 1 / 3, 1 / 3),
    ("10010000010000000000110", "10000100001101100010001", 7 / 11, 7 / 11),
]


@pytest.mark.parametrize(("cuts", "reference", "expected_pk", "expected_diff"), KNOWN)
def test_numbers_of_segeval(cuts: str, reference: str, expected_pk: float, expected_diff: float) -> None:
    assert pk(flags(cuts), flags(reference)) == pytest.approx(expected_pk, abs=1e-12)
    assert window_diff(flags(cuts), flags(reference)) == pytest.approx(expected_diff, abs=1e-12)


def test_the_window_is_half_a_mean_segment_and_at_least_two() -> None:
    assert half_mean_length(flags("000000000")) == 5
    assert half_mean_length(flags("111111111")) == 2


@given(st.lists(st.booleans(), min_size=3, max_size=30))
def test_a_text_agrees_with_itself(cuts: list[bool]) -> None:
    same = np.array(cuts)
    assert pk(same, same) == window_diff(same, same) == 0
    assert boundary_f1(same, same) == density(same, same) == 1


def test_f1_matches_each_boundary_once_within_the_tolerance() -> None:
    assert boundary_f1(flags("0100100"), flags("0010100")) == 0.5
    assert boundary_f1(flags("0100100"), flags("0010100"), tolerance=1) == 1
    assert boundary_f1(flags("0110000"), flags("0100000"), tolerance=1) == pytest.approx(2 / 3)
    assert boundary_f1(flags("0000"), flags("0100")) == 0
    assert boundary_f1(flags("0000"), flags("0000")) == 1


def test_density_counts_segments() -> None:
    assert density(flags("0101"), flags("0000")) == 3
