"""Which shards are built: documents that came and went, and shards that are taken up by size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from operators.suffixes import ABSORBED, Planned, StandingShard, Suffixes, planned


def test_new_documents_fill_shards_in_their_order():
    plans = planned({}, {"": [4, 4, 4, 20, 3]}, 10)
    assert [(plan.added, plan.tokens) for plan in plans] == [((0, 2), 8), ((2, 3), 4), ((3, 4), 20), ((4, 5), 3)]
    assert planned({}, {}, 10) == [] and planned({"": [StandingShard("a", 5)]}, {}, 10) == []


def test_what_comes_takes_up_shards_that_are_small_beside_it():
    standing = {"": [StandingShard("large", 50), StandingShard("small", 6), StandingShard("middle", 12)]}
    (plan,) = planned(standing, {"": [4]}, 100)
    assert [one.shard for one in plan.absorbs] == ["small", "middle"] and plan.tokens == 22
    (plan,) = planned(standing, {"": [4]}, 15)
    assert [one.shard for one in plan.absorbs] == ["small"] and plan.tokens == 10
    (plan,) = planned(standing, {"": [1]}, 100)
    assert plan.absorbs == ()


def test_a_shard_that_lost_documents_is_built_alone_and_goes_where_none_are_left():
    less, empty = StandingShard("less", 8, (0, 3)), StandingShard("empty", 0, (0,))
    standing = {"": [StandingShard("a", 7), less, empty]}
    assert planned(standing, {}, 100) == [Planned("", (less,), (0, 0), 8)]


def test_tenants_never_share_a_shard():
    standing = {"one": [StandingShard("a", 3)], "two": [StandingShard("b", 3, (1,))]}
    plans = planned(standing, {"one": [2], "three": [2, 2]}, 100)
    assert [(plan.tenant, [one.shard for one in plan.absorbs], plan.tokens) for plan in plans] == [
        ("one", ["a"], 5),
        ("three", [], 4),
        ("two", ["b"], 3),
    ]


@settings(max_examples=50)
@example([7, 3, 1])
@given(st.lists(st.integers(1, 30), min_size=1, max_size=80))
def test_a_corpus_that_grows_document_by_document_has_few_shards(sizes):
    """They double in size from one to the next, and a token is sorted some times by the logarithm of the corpus."""
    shards: dict[str, int] = {}
    sorted_tokens = 0
    for number, size in enumerate(sizes):
        standing = [StandingShard(name, tokens) for name, tokens in shards.items()]
        (plan,) = planned({"": standing}, {"": [size]}, 10**9)
        for one in plan.absorbs:
            del shards[one.shard]
        shards[f"{number}"] = plan.tokens
        sorted_tokens += plan.tokens
    assert sum(shards.values()) == sum(sizes)
    ascending = sorted(shards.values())
    assert all(larger > ABSORBED * smaller for smaller, larger in pairwise(ascending))
    assert sorted_tokens <= sum(sizes) * (2 + np.log(sum(sizes)) / np.log(1.5))


@pytest.mark.parametrize("tokens", [0, -1, 1 << 30])
def test_a_bound_that_no_shard_can_have_is_refused(tokens):
    with pytest.raises(RecipeError, match="shard_tokens"):
        Suffixes(shard_tokens=tokens)
