"""The judge: exact similarities, candidates by what signatures share, and the same answer with little memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.deduplicate import judge as module
from operators.deduplicate import listing
from operators.deduplicate.buckets import Buckets
from operators.deduplicate.estimate import least_agreeing, least_shared
from operators.deduplicate.judge import judge
from operators.deduplicate.shingle_sets import ShingleSets, jaccard
from operators.deduplicate.shingles import Shingler


def quiet(done: int, total: int) -> None:
    pass


def sets_of(texts: list[str], ngram: int = 2, most_hashes: int = 10**6) -> tuple[ShingleSets, list[int]]:
    read: list[int] = []

    def texts_of(numbers):
        read.extend(numbers)
        return pa.array([texts[number] for number in numbers], pa.large_string())

    return ShingleSets(texts_of, Shingler(ngram), most_hashes), read


def test_jaccard_against_sets() -> None:
    generator = np.random.default_rng(2)
    many = [np.unique(generator.integers(1, 40, size).astype(np.uint64)) for size in (0, 1, 5, 30, 3000)]
    many.append(np.arange(1, 5000, dtype=np.uint64))
    for one in many:
        expected = [
            len({*one.tolist()} & {*other.tolist()}) / len({*one.tolist()} | {*other.tolist()})
            if len(one) or len(other)
            else 0.0
            for other in many
        ]
        assert jaccard(one, many).tolist() == expected


def test_shingle_sets_are_equal_when_little_is_held() -> None:
    texts = [f"{i} " + " ".join(f"w{j}" for j in range(i, i + 20)) for i in range(30)]
    sets, read = sets_of(texts, most_hashes=40)
    documents = [3, 29, 0, 3, 7, 8, 9, 3]
    expected = Shingler(2).distinct(pa.array(texts))
    for _ in range(2):
        assert all(np.array_equal(got, expected[i]) for i, got in zip(documents, sets.fetch(documents), strict=True))
    assert len(sets._sets) <= 2
    before = len(read)
    sets.fetch([3])
    assert len(read) == before


def test_candidates_share_enough_buckets_and_components() -> None:
    documents, groups = np.array([0, 1, 0, 2, 3, 0, 2]), np.array([0, 0, 1, 1, 1, 2, 2])
    signatures = np.array([[1, 2, 3], [1, 9, 9], [1, 2, 9], [1, 2, 3]], np.uint32)
    for least, agreeing, expected in ((1, 0, [0, 1]), (2, 0, [0]), (1, 2, [0]), (3, 0, [])):
        buckets = Buckets(documents, groups, signatures, least, agreeing)
        buckets.keep(0)
        buckets.keep(1)
        assert sorted(buckets.candidates(2)[0].tolist()) == ([0] if expected else [])
    buckets = Buckets(documents, groups, signatures)
    for document in range(3):
        buckets.keep(document)
    others, shared = buckets.candidates(3)
    assert others.tolist() == [0, 2] and shared.tolist() == [1, 1]  # the most alike first
    assert buckets.needed(3, 4).tolist() == [0, 2, 3]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([60, 400, 10**6]), st.integers(1, 64))
def test_little_memory_and_small_chunks_change_nothing(seed: int, budget: int, texts_at_once: int) -> None:
    generator = np.random.default_rng(seed)
    base = [f"w{w}" for w in generator.integers(0, 30, 60)]
    texts = []
    for _ in range(25):
        words = list(base)
        for place in generator.integers(0, 60, generator.integers(0, 9)):
            words[place] = f"new{generator.integers(9)}"
        texts.append(" ".join(words))
    documents, groups = np.arange(25), np.zeros(25, np.int64)
    signatures = np.zeros((25, 4), np.uint32)
    lengths = np.array([len(text) for text in texts])
    expected = judge(Buckets(documents, groups, signatures), 2, lengths, sets_of(texts)[0], 0.7, quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TEXTS", texts_at_once)
        judged = judge(Buckets(documents, groups, signatures), 2, lengths, sets_of(texts, 2, budget)[0], 0.7, quiet)
    for name in ("keeper", "unlisted", "document", "other", "similarity", "bands"):
        assert np.array_equal(getattr(judged, name), getattr(expected, name)), name
    assert (expected.keeper[:2] == -1).all() and (expected.keeper >= 0).any()


def letters(generator: np.random.Generator, count: int) -> list[str]:
    """Letters of a few templates, some of them nearly copies of another one."""
    templates = [[f"t{w}" for w in generator.integers(0, 60, 40)] for _ in range(3)]
    written = []
    for _ in range(count):
        words = list(templates[generator.integers(3)])
        for place in generator.integers(0, 40, generator.integers(1, 12)):
            words[place] = f"name{generator.integers(30)}"
        written.append(" ".join(words))
    return written


def groups_at(level: float, document: np.ndarray, other: np.ndarray, similarity: np.ndarray, count: int) -> list[int]:
    group = list(range(count))
    for one, two in zip(document[similarity >= level], other[similarity >= level], strict=True):
        least, gone = sorted((group[one], group[two]))
        group = [least if label == gone else label for label in group]
    return group


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([60, 10**6]), st.integers(1, 6))
def test_of_many_distinct_ones_the_nearest_are_listed_and_those_that_link(seed: int, budget: int, nearest: int) -> None:
    texts = letters(np.random.default_rng(seed), 40)
    signatures, lengths = np.zeros((40, 4), np.uint32), np.array([len(text) for text in texts])

    def judged(nearest: int):
        buckets = Buckets(np.arange(40), np.zeros(40, np.int64), signatures)
        return judge(buckets, 0, lengths, sets_of(texts, 2, budget)[0], 0.7, quiet, nearest)

    every, some = judged(10**6), judged(nearest)
    assert np.array_equal(some.keeper, every.keeper) and not every.unlisted.any()
    assert np.array_equal(
        np.bincount(some.document, minlength=40) + some.unlisted, np.bincount(every.document, minlength=40)
    )
    rows = set(zip(every.document.tolist(), every.other.tolist(), every.similarity.tolist(), strict=True))
    listed = set(zip(some.document.tolist(), some.other.tolist(), some.similarity.tolist(), strict=True))
    assert listed <= rows
    for document in range(40):
        distinct = sorted((-s, o) for d, o, s in rows if d == document and s < 0.7)
        assert {(document, o, -s) for s, o in distinct[:nearest]} <= listed
        assert {row for row in rows if row[0] == document and row[2] >= 0.7} <= listed
    stays = every.keeper < 0
    for level in range(1, 21):
        both = [
            groups_at(level / 20, one.document[chosen], one.other[chosen], one.similarity[chosen], 40)
            for one in (every, some)
            for chosen in [stays[one.document]]
        ]
        assert both[0] == both[1], level


def test_letters_of_one_template_cost_rows_as_they_are_many() -> None:
    generator = np.random.default_rng(1)
    body = " ".join(f"w{i}" for i in range(60))
    texts = [f"{body} {' '.join(f'n{k}' for k in generator.integers(0, 10**6, 20))}" for _ in range(600)]
    buckets = Buckets(np.arange(600), np.zeros(600, np.int64), np.zeros((600, 4), np.uint32))
    lengths = np.array([len(text) for text in texts])
    judgement = judge(buckets, 0, lengths, sets_of(texts)[0], 0.8, quiet)
    assert (judgement.keeper < 0).all()
    assert len(judgement.document) + judgement.unlisted.sum() == 600 * 599 // 2
    assert len(judgement.document) <= 600 * (listing.NEAREST + 1)


def test_what_is_left_out_is_one_in_a_thousand_of_the_just_similar() -> None:
    generator = np.random.default_rng(0)
    for bands, rows, threshold in ((32, 4, 0.8), (20, 6, 0.8), (14, 8, 0.9), (50, 2, 0.5)):
        equal = generator.random((200_000, bands, rows)) < threshold
        assert (equal.all(axis=2).sum(axis=1) < least_shared(threshold, bands, rows)).mean() < 2e-3 or (
            least_shared(threshold, bands, rows) == 1
        )
        size = bands * rows
        assert (equal.sum(axis=(1, 2)) < least_agreeing(threshold, size)).mean() < 2e-3
    assert least_shared(0.8, 32, 4) > 1 and least_agreeing(1.0, 128) == 128
