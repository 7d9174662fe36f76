"""Fusion, budget, order, conditions and routes, against their definitions."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import QueryError
from mnemic.search import Hit
from mnemic.search.buffers import cut, reading_order, take
from mnemic.search.condition import condition, of_documents, of_level, within_documents
from mnemic.search.fusion import fuse, ranks, with_neighbours
from mnemic.search.route import RouteTree

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
    found = fuse([ranks(scores), ranks(other)])
    assert found.tolist() == pytest.approx([1 / 22, 1 / 22, 1 / 21, 1 / 22 + 1 / 21, 1 / 23])


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=1, max_size=12), st.floats(0.1, 0.9))
def test_a_row_has_a_share_of_what_its_neighbours_have(values, share):
    scores = np.array([np.nan if value is None else value for value in values])
    pairs = [(row, place) for row, places in enumerate(chain(len(scores))) for place in places]
    found = with_neighbours(scores, np.array(pairs, np.int64).reshape(-1, 2), share)
    for row, value in enumerate(values):
        given_ = [values[place] * share for place in chain(len(values))[row] if (values[place] or 0) > 0]
        expected = max([*given_, *([] if value is None else [value])], default=None)
        assert np.isnan(found[row]) if expected is None else found[row] == pytest.approx(expected)


@given(SIZES, st.integers(1, 800), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([None, 1, 3]))
@settings(max_examples=300)
def test_the_budget_is_never_exceeded_and_never_left_empty_for_nothing(sizes, budget, contiguity, k):
    taken = take(sizes, chain(len(sizes)), budget, k, contiguity)
    used = sum(sizes[place] for place in taken)
    assert used <= budget or len(taken) == 1, "only the best row, which is cut, may be larger than the budget"
    assert bool(taken) == bool(sizes) and (not taken or 0 in taken)
    if k is None:
        assert all(sizes[place] > budget - used for place in range(len(sizes)) if place not in taken)
    else:
        assert len(taken) <= k
    for place, beside in taken.items():
        assert beside is None or (beside in taken and abs(place - beside) == 1)


@given(SIZES, st.integers(1, 800))
def test_the_nearest_fit_ends_with_the_first_that_is_too_long(sizes, budget):
    taken = take(sizes, chain(len(sizes)), budget, contiguity=0.0, fit="nearest")
    expected, used = [], 0
    for place, size in enumerate(sizes):
        if used + size > budget:
            if used + size - budget < budget - used:
                expected.append(place)
            break
        expected.append(place)
        used += size
    assert list(taken) == expected


def test_a_share_of_the_budget_goes_to_the_neighbours_of_the_hits_in_their_order():
    # Ten rows of ten words; the best are 0 and 5, whose neighbours in the text are 8, 9 and 6, 7.
    neighbours = [[8, 9], [], [], [], [], [6, 7], [], [], [], []]
    taken = take([10] * 10, neighbours, 100, contiguity=0.4)
    assert [place for place, beside in taken.items() if beside is None][:6] == [0, 1, 2, 3, 4, 5]
    assert {place: beside for place, beside in taken.items() if beside is not None} == {8: 0, 9: 0, 6: 5, 7: 5}
    assert take([10] * 10, neighbours, 70, contiguity=0.4) == {0: None, 1: None, 2: None, 3: None, 8: 0, 9: 0, 4: None}


def test_an_event_longer_than_the_budget_is_cut_and_says_so():
    assert take([3, 1], [[], []], 2) == {0: None}, "the best one is never left out"
    only = cut(EVENT, 2)
    assert only.text == "one two" and only.words == 2 and "cut to 2 words" in only.reason
    assert cut(EVENT, 3) is EVENT


def test_without_a_budget_k_limits():
    assert list(take([5] * 9, chain(9), None, 4)) == [0, 1, 2, 3]


def test_documents_come_by_their_best_event_and_events_in_their_own_order():
    found = [
        replace(EVENT, id="1", document="x", start=5, score=0.9),
        replace(EVENT, id="2", document="y", start=2, score=0.8),
        replace(EVENT, id="3", document="x", start=1, score=0.1),
    ]
    assert [event.id for event in reading_order(found)] == ["3", "1", "2"]


COLUMNS = ("tenant", "source", "collection", "session", "document", "speakers", "level", "leaf")


def test_conditions_by_name_are_sql_and_quoted():
    assert (
        condition({"tenant": "o'neil", "source": ["a", "b"]}, COLUMNS)
        == "tenant IN ('o''neil') AND source IN ('a', 'b')"
    )
    assert (
        condition({"speaker": ["Ann", "Bob"]}, COLUMNS) == "(array_has(speakers, 'Ann') OR array_has(speakers, 'Bob'))"
    )
    time = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert condition({"after": time, "before": date(2026, 3, 1)}, COLUMNS) == (
        "end_time >= timestamp '2026-01-31 09:30:00.000000' AND start_time < timestamp '2026-03-01 00:00:00'"
    )
    assert (
        condition({"after": "2026-01-31T10:30:00+01:00"}, COLUMNS)
        == "end_time >= timestamp '2026-01-31 09:30:00.000000'"
    )
    assert condition({"tenant": []}, COLUMNS) == "false", "nobody is not everybody"
    assert condition([{"tenant": "a"}, "words > 5", None], COLUMNS) == "(tenant IN ('a')) AND (words > 5)"
    assert condition({"tenant": None}, COLUMNS) is None and condition("words > 5", COLUMNS) == "words > 5"
    assert of_level(None, "words > 5 OR true", COLUMNS) == "(words > 5 OR true) AND (leaf)"
    assert of_level("turn", None, COLUMNS) == "(level = 'turn')" and of_level(None, None, ("id",)) is None


def test_what_documents_can_be_asked():
    assert of_documents({"tenant": "a", "document": "7f", "speaker": "Ann"}) == "(tenant IN ('a')) AND (id IN ('7f'))"
    assert of_documents([{"tenant": "a"}, "words > 5", None]) == "((tenant IN ('a')))"
    assert of_documents("tenant = 'a'") is None and of_documents(None) is None


def test_what_differs_within_a_document():
    assert within_documents({"tenant": "a", "session": "b", "after": None}) is None and within_documents(None) is None
    assert within_documents({"tenant": "a", "speaker": "Ann"}) == {"speaker": "Ann"}
    assert within_documents([{"tenant": "a"}, None]) is None
    assert within_documents([{"tenant": "a"}, "words > 5"]) == ["words > 5"]
    assert within_documents("tenant = 'a'") == "tenant = 'a'", "SQL is not looked into"


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ({"tenants": "a"}, "did you mean 'tenant'"),
        ({"colour": "red"}, "known are tenant"),
        ({"after": "yesterday"}, "is no time"),
        ({"before": 5}, "is no time"),
        ({"session": "s"}, "Build it again"),
    ],
)
def test_conditions_that_mean_nothing_are_told(where, told):
    with pytest.raises(QueryError, match=told):
        condition(where, ("tenant",))


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
