"""The keys that new documents share with one another and with those of earlier runs, against the definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.deduplicate.candidates import shared_with_earlier

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1000)), max_size=20)


@given(PAIRS, st.lists(PAIRS, max_size=3), st.sets(st.integers(0, 12)))
def test_shared_keys_are_those_of_the_definition(new, earlier, flagged_in_vain) -> None:
    runs = [columns(sorted(run)) for run in earlier]
    old = {key for run in earlier for key, _ in run}
    flagged = np.array(sorted(old | flagged_in_vain), np.uint64)
    shared = shared_with_earlier(columns(new), lambda keys: np.isin(keys, flagged), lambda: iter(runs))

    count = [key for key, _ in new]
    expected = [pair for pair in new if pair[0] in old or count.count(pair[0]) > 1]
    expected += [pair for run in earlier for pair in run if pair[0] in set(count)]
    assert sorted(zip(shared.keys.tolist(), shared.rows.tolist(), strict=True)) == sorted(expected)
    assert shared.keys.tolist() == sorted(shared.keys.tolist())


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Keys and rows, uint64 [n] each."""
    both = np.array(pairs, np.uint64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()
