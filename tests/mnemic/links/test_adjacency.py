"""Entries of lists that stand end to end are those of the lists, one after another."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemic.links.adjacency import entries_of


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.data())
def test_entries_are_those_of_each_list_in_turn(sizes, data):
    lists = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=6))
    first = np.concatenate([[0], np.cumsum(sizes)])
    owners, entries = entries_of(first, np.array(lists, np.int64))
    expected = [(place, one) for place, k in enumerate(lists) for one in range(first[k], first[k + 1])]
    assert list(zip(owners.tolist(), entries.tolist(), strict=True)) == expected
