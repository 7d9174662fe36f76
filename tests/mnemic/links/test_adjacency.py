"""Entries of lists that stand end to end are those of the lists, one after another, and the best of each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemic.links.adjacency import entries_of, first_of_each


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_entries_are_those_of_each_list_in_turn(sizes, data):
    lists = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=6))
    first = np.concatenate([[0], np.cumsum(sizes)])
    owners, entries = entries_of(first, np.array(lists, np.int64))
    expected = [(place, one) for place, k in enumerate(lists) for one in range(first[k], first[k + 1])]
    assert list(zip(owners.tolist(), entries.tolist(), strict=True)) == expected


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0])), max_size=12))
def test_the_first_of_the_largest_values_of_each_owner(pairs):
    owners, values = np.array([one for one, _ in pairs], np.int64), np.array([value for _, value in pairs])
    distinct, places = first_of_each(owners, values)
    best = {}
    for place, (owner, value) in enumerate(pairs):
        if owner not in best or value > pairs[best[owner]][1]:
            best[owner] = place
    assert dict(zip(distinct.tolist(), places.tolist(), strict=True)) == best and sorted(best) == distinct.tolist()
