"""Fusion, budget, order, conditions and routes, against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import QueryError
from mnemic.search import Hit
from mnemic.search.buffers import cut, reading_order, take
from mnemic.search.condition import of_level
from mnemic.search.fusion import fuse, ranks, with_neighbours
from mnemic.search.route import RouteTree
from mnemic.search.vector import query_vector

EVENT = Hit(
    id="e", document="d", source="s", locator="l", collection="c", tenant="t", session="", level="event", start=0,
    end=13, time=None, speakers=[], turns=[], text="one two three", words=3, score=1.0, similarity=None, bm25=None,
    event_bm25=None, document_bm25=None, reason="words: rank 1",
)  # fmt: skip

SIZES = st.lists(st.integers(1, 400), max_size=40)


def chain(count: int) -> list[list[int]]:
    """Rows that stand in a line, next before previous."""
    return [[place for place in (row + 1, row - 1) if 0 <= place < count] for row in range(count)]


def test_fusion_is_the_sum_of_reciprocal_ranks_and_equal_scores_have_one_rank():
    scores = np.array([0.5, np.nan, 0.9, 0.5, 0.1])
    assert ranks(scores).tolist() == [2, np.inf, 1, 2, 3]
    other = np.array([np.nan, 7.0, np.nan, 8.0, np.nan])
    fused = fuse([ranks(scores), ranks(other)])
    assert fused.tolist() == pytest.approx([1 / 22, 1 / 22, 1 / 21, 1 / 22 + 1 / 21, 1 / 23])


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=1, max_size=12), st.floats(0.1, 0.9))
def test_a_row_has_a_share_of_what_its_neighbours_have(values, share):
    scores = np.array([np.nan if value is None else value for value in values])
    pairs = [(row, place) for row, places in enumerate(chain(len(scores))) for place in places]
    shared = with_neighbours(scores, np.array(pairs, np.int64).reshape(-1, 2), share)
    for row, value in enumerate(values):
        given_ = [values[place] * share for place in chain(len(values))[row] if (values[place] or 0) > 0]
        expected = max([*given_, *([] if value is None else [value])], default=None)
        assert np.isnan(shared[row]) if expected is None else shared[row] == pytest.approx(expected)


@given(SIZES, st.integers(1, 800), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([None, 1, 3]))
@settings(max_examples=300)
def test_the_budget_is_never_exceeded_and_never_left_empty_for_nothing(sizes, budget, contiguity, k):
    chosen = take(sizes, chain(len(sizes)), budget, k, contiguity)
    used = sum(sizes[place] for place in chosen)
    assert used <= budget or len(chosen) == 1, "only the best row, which is cut, may be larger than the budget"
    assert bool(chosen) == bool(sizes) and (not chosen or 0 in chosen)
    if k is None:
        assert all(sizes[place] > budget - used for place in range(len(sizes)) if place not in chosen)
    else:
        assert len(chosen) <= k
    for place, beside in chosen.items():
        assert beside is None or (beside in chosen and abs(place - beside) == 1)


@given(SIZES, st.integers(1, 800))
def test_the_nearest_fit_ends_with_the_first_that_is_too_long(sizes, budget):
    chosen = take(sizes, chain(len(sizes)), budget, contiguity=0.0, fit="nearest")
    expected, used = [], 0
    for place, size in enumerate(sizes):
        if used + size > budget:
            if used + size - budget < budget - used:
                expected.append(place)
            break
        expected.append(place)
        used += size
    assert list(chosen) == expected


def test_a_share_of_the_budget_goes_to_the_neighbours_of_the_hits_in_their_order():
    # Ten rows of ten words; the best are 0 and 5, whose neighbours in the text are 8, 9 and 6, 7.
    neighbours = [[8, 9], [], [], [], [], [6, 7], [], [], [], []]
    chosen = take([10] * 10, neighbours, 100, contiguity=0.4)
    assert [place for place, beside in chosen.items() if beside is None][:6] == [0, 1, 2, 3, 4, 5]
    assert {place: beside for place, beside in chosen.items() if beside is not None} == {8: 0, 9: 0, 6: 5, 7: 5}
    assert take([10] * 10, neighbours, 70, contiguity=0.4) == {0: None, 1: None, 2: None, 3: None, 8: 0, 9: 0, 4: None}


def test_an_event_longer_than_the_budget_is_cut_and_says_so():
    assert take([3, 1], [[], []], 2) == {0: None}, "the best one is never left out"
    only = cut(EVENT, 2)
    assert only.text == "one two" and only.words == 2 and "cut to 2 words" in only.reason
    assert cut(EVENT, 3) is EVENT


def test_without_a_budget_k_limits():
    assert list(take([5] * 9, chain(9), None, 4)) == [0, 1, 2, 3]


def test_documents_come_by_their_best_event_and_events_in_their_own_order():
    hits = [
        replace(EVENT, id="1", document="x", start=5, score=0.9),
        replace(EVENT, id="2", document="y", start=2, score=0.8),
        replace(EVENT, id="3", document="x", start=1, score=0.1),
    ]
    assert [event.id for event in reading_order(hits)] == ["3", "1", "2"]


def test_a_condition_holds_beside_the_level():
    columns = ("tenant", "level", "leaf")
    assert of_level(None, "words > 5 OR true", columns) == "(words > 5 OR true) AND (leaf)"
    assert of_level("turn", None, columns) == "(level = 'turn')" and of_level(None, None, ("id",)) is None


SIZE = 32


def test_a_vector_of_a_query_is_numbers_of_its_length():
    for given_ in (np.ones(SIZE), np.ones(SIZE, np.float16), [1] * SIZE, np.zeros(SIZE)):
        assert query_vector(given_, SIZE).tolist() == np.asarray(given_).tolist()
        assert query_vector(given_, SIZE).dtype == np.float32
    for scale in (1e-200, 1e-30, 1e30, 1e200):
        ramp = np.linspace(0.1, 1, SIZE)
        vector = query_vector(ramp * scale, SIZE)
        assert np.allclose(vector / np.linalg.norm(vector), ramp / np.linalg.norm(ramp))


@pytest.mark.parametrize(
    ("vector", "sentence"),
    [
        (np.full(SIZE, np.nan), "NaN or infinite"),
        (np.r_[np.ones(SIZE - 1), np.inf], "NaN or infinite"),
        (np.ones(SIZE - 1), "have \\[32\\]"),
        (np.ones((1, SIZE)), "one vector"),
        (np.ones(0), "one vector"),
        (1.0, "one vector"),
        ("nothing", "not numbers"),
        ([None] * SIZE, "not numbers"),
        (np.ones(SIZE, complex), "not numbers"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
    ],
)
def test_a_vector_that_no_query_has_is_told(vector, sentence):
    with pytest.raises(QueryError, match=sentence):
        query_vector(vector, SIZE)


def grown_tree(seed: int = 0, depth: int = 3, branching: int = 4, dimension: int = 8) -> RouteTree:
    generator = np.random.default_rng(seed)
    paths, centroids, parents = [""], [np.zeros(dimension)], [0]
    begin = 0
    for level in range(depth):
        end = len(paths)
        for node in range(begin, end):
            for child in range(branching):
                paths.append(f"{paths[node]}.{child}".lstrip("."))
                centroids.append(centroids[node] + generator.standard_normal(dimension) / 2**level)
                parents.append(node)
        begin = end
    children: list[list[int]] = [[] for _ in paths]
    for node, parent in list(enumerate(parents))[1:]:
        children[parent].append(node)
    sizes = np.zeros(len(paths), np.int64)
    for node in reversed(range(len(paths))):
        sizes[node] = sum(sizes[child] for child in children[node]) if children[node] else node
    return RouteTree(paths, np.array(centroids, np.float32), sizes, children)


def test_a_route_is_greedy_descent_for_one_leaf_and_everything_for_all():
    tree, generator = grown_tree(), np.random.default_rng(1)
    for _ in range(20):
        vector = generator.standard_normal(8).astype(np.float32)
        node = 0
        while tree.children[node]:
            node = min(tree.children[node], key=lambda child: ((tree.centroids[child] - vector) ** 2).sum())
        one = tree.route(vector, 1)
        assert one.leaves == (tree.paths[node],)
        assert one.share == pytest.approx(tree.sizes[node] / tree.sizes[0])
        few, all_ = tree.route(vector, 8), tree.route(vector, 64)
        assert len(few.leaves) == 8 and set(one.leaves) <= set(few.leaves) and one.share < few.share < 1
        assert len(all_.leaves) == 64 and all_.share == 1.0
    with pytest.raises(QueryError, match="set route to at least 1"):
        tree.route(vector, 0)
