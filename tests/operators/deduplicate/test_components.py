"""Documents that share keys, directly or through others, are one component and go into one pack."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.deduplicate.candidates import Components, Shared

EDGES = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 40)), max_size=60)


def smallest_by_definition(rows: np.ndarray, links: list[tuple[int, int]]) -> np.ndarray:
    """The smallest row that each is linked to, by one key after another until nothing changes."""
    smallest = {int(row): int(row) for row in rows}
    while True:
        before = dict(smallest)
        for key in {key for key, _ in links}:
            low = min(smallest[row] for other, row in links if other == key)
            smallest.update({row: low for other, row in links if other == key})
        if smallest == before:
            return np.array([smallest[int(row)] for row in rows])


@given(EDGES, st.integers(1, 4), st.integers(1, 9))
def test_components_are_those_of_the_definition(links: list[tuple[int, int]], shards: int, size: int) -> None:
    links = sorted(set(links))
    parts = [[one for one in links if one[0] % shards == number] for number in range(shards)]
    shared = [
        Shared(np.array([key for key, _ in part], np.uint64), np.array([row for _, row in part], np.uint64))
        for part in parts
    ]
    linked = Components(part.rows for part in shared)
    for part in shared:
        linked.link(part)
    roots = smallest_by_definition(linked.rows, links)
    assert np.array_equal(linked.rows[linked._parent], roots)
    packs = linked.packs(size)
    for root in np.unique(roots):
        assert len(np.unique(packs[roots == root])) == 1, "a component is in one pack"
    counts = [np.bincount(packs[roots == root].astype(int)).sum() for root in np.unique(roots)]
    before = np.cumsum(counts) - counts
    expected = np.unique(before // size, return_inverse=True)[1] if counts else before
    assert [packs[roots == root][0] for root in np.unique(roots)] == expected.tolist()


def test_a_long_chain_is_one_component() -> None:
    count = 5000
    rows = np.repeat(np.arange(count, dtype=np.uint64), 2)[1:-1]
    linked = Components([rows])
    linked.link(Shared(np.repeat(np.arange(count - 1, dtype=np.uint64), 2), rows))
    assert not linked._parent.any()
