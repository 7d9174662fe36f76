"""Cut-offs and lengths: each rule against its definition, for every document on its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.segment.limits import every, in_passing, keep_apart, limit
from operators.segment.select import (
    WARM_UP,
    at_rank,
    local_maxima,
    over_all_gaps,
    over_gaps_before,
    percentile,
    spans,
    trailing,
)


def test_the_cutoff_is_each_documents_own() -> None:
    scores = np.array([1.0, 2.0, 6.0, np.nan, 10.0, 10.0, np.nan, np.nan, 4.0])
    ends = np.isnan(scores)
    expected = [3 + 2 * np.std([1, 2, 6])] * 3 + [np.nan] + [10.0] * 2 + [np.nan] * 2 + [4.0]
    np.testing.assert_allclose(over_all_gaps(scores, ends, 2.0), expected)
    middle = [np.percentile([1, 2, 6], 30)] * 3 + [np.nan] + [10.0] * 2 + [np.nan] * 2 + [4.0]
    np.testing.assert_allclose(percentile(scores, ends, 30), middle)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 40), st.sampled_from([0.0, 0.1]))
@settings(max_examples=60)
def test_a_trailing_cutoff_is_made_of_the_gaps_before(seed: int, count: int, window: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    scores, ends = generator.random(count), generator.random(count) < share
    scores[ends] = np.nan
    expected = np.full(count, np.nan)
    first = 0
    for gap in range(count):
        if ends[gap]:
            first = gap + 1
            continue
        before = scores[max(first, gap - window) : gap]
        expected[gap] = before.mean() + 1.5 * before.std() if len(before) >= WARM_UP else np.inf
    np.testing.assert_allclose(over_gaps_before(scores, ends, 1.5, window), expected, rtol=1e-9)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 25), max_size=6), st.integers(1, 40))
@settings(max_examples=60)
def test_a_trailing_cutoff_in_parts_is_bit_equal(seed: int, sizes: list[int], window: int) -> None:
    generator = np.random.default_rng(seed)
    scores, ends = generator.random(sum(sizes)), generator.random(sum(sizes)) < 0.05
    scores[ends] = np.nan
    sums, parts = np.zeros((1, 2)), []
    for part in np.split(np.arange(len(scores)), np.cumsum(sizes)[:-1]) if sizes else []:
        threshold, sums = trailing(scores[part], ends[part], 1.0, window, sums)
        parts.append(threshold)
        assert len(sums) <= window + 1, "no more is carried than the window needs"
    whole = over_gaps_before(scores, ends, 1.0, window)
    np.testing.assert_array_equal(np.concatenate(parts) if parts else np.empty(0), whole)


def test_only_local_maxima_are_candidates() -> None:
    scores = np.array([3.0, 5.0, 4.0, 1.0, 6.0, 6.0, np.nan, 9.0, 2.0])
    assert np.flatnonzero(local_maxima(scores, np.isnan(scores))).tolist() == [1, 4, 7]


def test_a_rank_takes_the_best_of_each_document() -> None:
    scores = np.array([3.0, 5.0, 4.0, np.nan, 1.0, 2.0, np.nan, 7.0])
    ends = np.isnan(scores)
    threshold = at_rank(scores, ~ends, ends, np.array([2, 0, 5]))
    assert np.flatnonzero(scores > threshold).tolist() == [1, 2, 7]


def test_spans_are_the_gaps_of_documents() -> None:
    ends = np.array([False, True, True, False])
    assert spans(ends) == [(0, 1), (2, 2), (3, 4)]


def test_blocks_are_counted_from_each_documents_start() -> None:
    ends = np.zeros(11, bool)
    ends[4] = True
    assert np.flatnonzero(every(2, ends)).tolist() == [1, 3, 4, 6, 8, 10]


def test_of_cuts_too_near_the_deeper_stays() -> None:
    scores = np.array([9.0, 0.1, 3.0, 5.0, 0.0, 0.0, 1.0, 0.0])
    cuts = scores > 0.5
    assert np.flatnonzero(keep_apart(cuts, scores, np.zeros(8, bool), 2)).tolist() == [3, 6]
    assert keep_apart(cuts, scores, np.zeros(8, bool), 1) is cuts


def test_in_passing_short_events_grow_and_full_ones_end() -> None:
    cuts = np.zeros(14, bool)
    cuts[[0, 1, 4, 11]] = True
    ends = np.zeros(14, bool)
    ends[12] = True
    assert np.flatnonzero(in_passing(cuts, ends, 2, 5)).tolist() == [1, 4, 9, 11, 12]


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=80),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(0, 10**6),
)
@settings(max_examples=150)
def test_limits_always_hold_and_add_no_needless_cut(words: list[int], units: int, most: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    cuts = generator.random(len(words) - 1) < 0.1
    limited = limit(cuts, generator.random(len(words) - 1), np.array(words), units, most)
    assert (limited >= cuts).all()

    def sizes(chosen: np.ndarray) -> list[tuple[int, int]]:
        parts = np.split(np.array(words), np.flatnonzero(chosen) + 1)
        return [(len(part), int(part.sum())) for part in parts]

    assert all(count <= units and (total <= most or count == 1) for count, total in sizes(limited))
    if all(count <= units and total <= most for count, total in sizes(cuts)):
        assert (limited == cuts).all()


@pytest.mark.parametrize(("scored", "places"), [(True, [5]), (False, [3, 7])])
def test_an_overlong_piece_is_cut_at_its_deepest_gap(scored: bool, places: list[int]) -> None:
    scores = np.zeros(9) if scored else np.full(9, np.nan)
    if scored:
        scores[5] = 1.0
    most = 8 if scored else 4
    assert np.flatnonzero(limit(np.zeros(9, bool), scores, np.ones(10, np.int64), most, 99)).tolist() == places
