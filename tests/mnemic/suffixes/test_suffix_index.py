"""The index against tables of n-grams counted by hand: any number of shards, with numba and without."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import BankError
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.index import LOOKED_AT, SuffixIndex
from mnemic.suffixes.shard import GUIDED, Shard

LONGEST = 8
VOCABULARIES = (6, 70_000)  # of two bytes a token, and of four


def shards(texts: list[list[int]], parts: int, vocabulary: int = 6, tenant: str = "") -> list[Shard]:
    names = [f"document {number:02d}" for number in range(len(texts))]
    cuts = [cut for cut in np.array_split(np.arange(len(texts)), parts) if len(cut)]
    return [Shard.of([np.array(texts[i]) for i in cut], [names[i] for i in cut], vocabulary, tenant) for cut in cuts]


def places(texts: list[list[int]], span: list[int]) -> list[tuple[str, int, int | None]]:
    """(document, offset, the token behind) of every place where ``span`` stands."""
    return [
        (f"document {number:02d}", at, text[at + len(span)] if at + len(span) < len(text) else None)
        for number, text in enumerate(texts)
        for at in range(len(text) - len(span) + 1)
        if text[at : at + len(span)] == span
    ]


def orders(texts: list[list[int]], context: list[int]) -> list[tuple[int, list[tuple[str, int, int | None]]]]:
    """The suffixes of a context that stand in more places than the longer ones, each with its places."""
    levels: list[tuple[int, list[tuple[str, int, int | None]]]] = []
    for length in range(len(context), 0, -1):
        there = places(texts, context[-length:])
        if len(there) > (len(levels[-1][1]) if levels else 0):
            levels.append((length, there))
    return levels


def answers(index: SuffixIndex, contexts: Contexts, number: int = 3) -> tuple[Any, ...]:
    matches = index.matches(contexts, number)
    following = index.continuations(matches)
    first = [index.places_of(matches, context) for context in range(len(contexts))]
    return (
        matches.lengths.tolist(),
        matches.counts.tolist(),
        [column.tolist() for column in (following.begins, following.tokens, following.counts)],
        [list(zip(one.documents, one.offsets.tolist(), strict=True)) for one in first],
    )


TEXTS = st.lists(st.lists(st.integers(0, 4), max_size=14), min_size=1, max_size=8)
ASKED = st.lists(st.lists(st.integers(-1, 6), max_size=LONGEST), min_size=1, max_size=12)


@settings(max_examples=60)
@given(TEXTS, ASKED, st.sampled_from(VOCABULARIES))
def test_matches_continuations_and_places_are_those_of_counted_ngrams(texts, queries, vocabulary):
    contexts = Contexts.of(queries)
    index = SuffixIndex(shards(texts, 1, vocabulary))
    lengths, counts, (begins, tokens, amounts), first = answers(index, contexts)
    for number, context in enumerate(queries):
        expected = orders(texts, context)[:3]
        assert lengths[number] == [length for length, _ in expected] + [0] * (3 - len(expected))
        assert counts[number] == [len(there) for _, there in expected] + [0] * (3 - len(expected))
        for order in range(3):
            row = slice(begins[3 * number + order], begins[3 * number + order + 1])
            behind = Counter(token for _, _, token in expected[order][1]) if order < len(expected) else Counter()
            behind.pop(None, None)
            assert list(zip(tokens[row], amounts[row], strict=True)) == sorted(behind.items())
        assert first[number] == sorted(place[:2] for place in (expected[0][1] if expected else []))[:10]


@settings(max_examples=40)
@given(TEXTS, ASKED)
def test_any_number_of_shards_answers_as_one_with_numba_and_without(texts, queries):
    contexts = Contexts.of(queries)
    expected = answers(SuffixIndex(shards(texts, 1)), contexts)
    for parts in (1, 2, 7):
        for numba in (True, False):
            assert answers(SuffixIndex(shards(texts, parts), with_numba=numba), contexts) == expected
        backwards = SuffixIndex(shards(texts, parts)[::-1])
        assert answers(backwards, contexts) == expected


def test_counts_are_of_whole_contexts_however_long():
    draw = np.random.default_rng(3)
    texts = [draw.integers(0, 3, 400).tolist() for _ in range(6)]
    queries = [texts[2][50:250], [*texts[2][50:250], 7], texts[1][:2], [], [9]]
    for parts in (1, 2, 7):
        for numba in (True, False):
            index = SuffixIndex(shards(texts, parts), with_numba=numba)
            assert index.counts(Contexts.of(queries, None)).tolist() == [1, 0, len(places(texts, texts[1][:2])), 0, 0]


def test_a_long_text_that_stands_there_matches_from_its_beginning():
    draw = np.random.default_rng(4)
    texts = [draw.integers(0, 5, 300).tolist() for _ in range(3)]
    index = SuffixIndex(shards(texts, 2))
    lengths = index.matches(Contexts.up_to_each(np.array(texts[1]), None)).lengths[:, 0]
    assert lengths.tolist()[20:] == list(range(21, 301))
    bounded = index.matches(Contexts.up_to_each(np.array(texts[1]), 16)).lengths[:, 0]
    assert bounded.max() == 16
    before = index.matches(Contexts.before_each(np.array(texts[1]), None)).lengths[:, 0]
    assert before[0] == 0 and before[1:].tolist() == lengths[:-1].tolist()


@pytest.mark.parametrize("numba", [True, False])
def test_of_many_places_some_are_looked_at_evenly_and_all_where_asked(numba):
    text = [1, 2] * 3000 + [1, 3] * 1000
    index = SuffixIndex(shards([text], 1), with_numba=numba)
    matches = index.matches(Contexts.of([[1]]))
    some, every = index.continuations(matches), index.continuations(matches, None)
    assert matches.counts.tolist() == [[4000]]
    assert every.tokens.tolist() == [2, 3] and every.counts.tolist() == [3000, 1000]
    assert some.counts.sum() == LOOKED_AT and abs(some.shares[0] - 0.75) < 0.02
    parts = SuffixIndex(shards([text[:4000], text[4000:]], 2), with_numba=numba)
    exact = parts.continuations(parts.matches(Contexts.of([[1]])), None)
    assert exact.counts.tolist() == [3000, 1000]


CHOSEN = pa.array(["document 01", "document 03"])


def test_some_documents_are_an_index_of_these_alone():
    texts = [[1, 2, 3], [1, 2, 4], [1, 2, 3, 5], [2, 3]]
    for parts in (1, 2):
        index = SuffixIndex(shards(texts, parts))
        narrow = index.of_documents(lambda shard: pc.is_in(shard.documents, CHOSEN).to_numpy(False))
        queries = Contexts.of([[1, 2], [2], [1, 2, 3], [4]])
        left = [text for number, text in enumerate(texts) if f"document {number:02d}" in CHOSEN.to_pylist()]
        assert narrow.places == sum(map(len, left))
        expected = [len(places(left, context)) for context in ([1, 2], [2], [1, 2, 3], [4])]
        assert narrow.counts(queries).tolist() == expected
        following = narrow.continuations(narrow.matches(Contexts.of([[1, 2]])))
        assert following.tokens.tolist() == [4]


def test_tenants_are_asked_apart():
    one, other = shards([[1, 2, 3]], 1, tenant="one"), shards([[1, 2, 4]], 1, tenant="other")
    index = SuffixIndex([*one, *other])
    queries = Contexts.of([[1, 2]])
    assert index.counts(queries).tolist() == [2]
    narrow = index.of_tenant("one")
    assert narrow.counts(queries).tolist() == [1]
    assert narrow.continuations(narrow.matches(queries)).tokens.tolist() == [3]
    assert index.of_tenant("nobody").counts(queries).tolist() == [0]


@pytest.mark.parametrize("numba", [True, False])
def test_an_empty_index_and_no_contexts_are_answered(numba):
    empty = SuffixIndex([], with_numba=numba)
    matches = empty.matches(Contexts.of([[1], []]), 2)
    assert matches.lengths.tolist() == [[0, 0], [0, 0]] and len(empty.continuations(matches).tokens) == 0
    assert empty.places_of(matches).documents == []
    index = SuffixIndex(shards([[1, 2]], 1), with_numba=numba)
    assert index.matches(Contexts.of([])).lengths.shape == (0, 1)
    assert index.continuations(index.matches(Contexts.of([]))).begins.tolist() == [0]


def test_shards_of_two_kinds_of_tokens_are_refused():
    with pytest.raises(BankError, match="build the suffixes again"):
        SuffixIndex([*shards([[1]], 1), *shards([[1]], 1, 70_000)])


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("alphabet", [2, 5, 400])
def test_a_large_shard_is_searched_by_its_guide_and_answers_as_without_numba(vocabulary, alphabet):
    draw = np.random.default_rng(alphabet)
    largest = min(vocabulary, 65_535) - 1  # the token whose number and the separator's are one in a guide
    texts = [
        np.where(row == alphabet - 1, largest, row).tolist()
        for row in (draw.integers(0, alphabet, size) for size in draw.integers(1, 900, 30))
    ]
    queries = [text[begin : begin + 40] for text in texts for begin in range(0, len(text), 50)]
    queries += [[*draw.integers(0, alphabet, 3).tolist(), -1, *text[5:9]] for text in texts]
    queries += [draw.choice([0, 1, largest, largest + 1], size).tolist() for size in range(30)]
    contexts = Contexts.of(queries)
    compiled = SuffixIndex(shards(texts, 2, vocabulary))
    assert max(len(shard) for shard in compiled.shards) > 2 * GUIDED
    expected = answers(SuffixIndex(shards(texts, 2, vocabulary), with_numba=False), contexts)
    assert answers(compiled, contexts) == expected
    if alphabet == 5:
        assert [row[0] for row in expected[0][::5]] == [
            next((length for length, _ in orders(texts, context)), 0) for context in queries[::5]
        ]
