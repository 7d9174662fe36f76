"""The judge: exact similarities, candidates by what signatures share, and the same answer with little memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.deduplicate import judge as module
from operators.deduplicate.estimate import least_agreeing, least_shared
from operators.deduplicate.judge import Buckets, ShingleSets, jaccard, judge
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
    wanted = [3, 29, 0, 3, 7, 8, 9, 3]
    expected = Shingler(2).distinct(pa.array(texts))
    for _ in range(2):
        assert all(np.array_equal(got, expected[i]) for i, got in zip(wanted, sets.fetch(wanted), strict=True))
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


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([60, 400, 10**6]), st.integers(1, 64))
def test_little_memory_and_small_chunks_change_nothing(seed: int, held: int, texts_at_once: int) -> None:
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
        found = judge(Buckets(documents, groups, signatures), 2, lengths, sets_of(texts, 2, held)[0], 0.7, quiet)
    for name in ("keeper", "document", "other", "similarity", "bands"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert (expected.keeper[:2] == -1).all() and (expected.keeper >= 0).any()


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
