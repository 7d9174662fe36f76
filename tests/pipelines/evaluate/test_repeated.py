"""Repeated spans, against a comparison of all windows of all documents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard
from pipelines.evaluate.repeated import RepeatedSpans, repeated_spans


def by_windows(texts, span):
    """Tokens in windows of ``span`` that another document has."""
    owners = {}
    for number, text in enumerate(texts):
        for start in range(len(text) - span + 1):
            owners.setdefault(tuple(text[start : start + span]), set()).add(number)
    total = 0
    for text in texts:
        covered = np.zeros(len(text), bool)
        for start in range(len(text) - span + 1):
            if len(owners[tuple(text[start : start + span])]) > 1:
                covered[start : start + span] = True
        total += int(covered.sum())
    return total


def index_of(texts, shards, tenants=("",)):
    groups = np.array_split(np.arange(len(texts)), shards)
    return SuffixIndex(
        [
            Shard.of([np.array(texts[n]) for n in group], [str(n) for n in group], 9, tenants[place % len(tenants)])
            for place, group in enumerate(groups)
        ]
    )


@settings(max_examples=100)
@given(
    texts=st.lists(st.lists(st.integers(0, 2), max_size=25), min_size=1, max_size=7),
    shards=st.sampled_from([1, 2, 7]),
    span=st.integers(1, 6),
)
def test_the_share_is_that_of_a_comparison_of_all_windows(texts, shards, span):
    tokens, repeated = sum(map(len, texts)), by_windows(texts, span)
    expected = RepeatedSpans(span, tokens, repeated, repeated / max(tokens, 1))
    assert repeated_spans(index_of(texts, shards), span) == expected


def test_text_of_another_tenant_is_not_elsewhere():
    text = list(range(8)) * 2
    assert repeated_spans(index_of([text, text], 2, ("a", "b")), 8).repeated == 0
    assert repeated_spans(index_of([text, text], 2), 8).share == 1.0


def test_a_document_that_repeats_itself_alone_is_not_repeated():
    assert repeated_spans(index_of([[1, 2, 3, 4] * 5, [5, 6]], 1), 4).repeated == 0


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(0)
    texts = [draw.integers(0, 3, 60).tolist() for _ in range(6)]
    whole = repeated_spans(index_of(texts, 2), 4)
    monkeypatch.setattr("pipelines.evaluate.repeated._AT_ONCE", 7)
    assert repeated_spans(index_of(texts, 2), 4) == whole and 0 < whole.share < 1
