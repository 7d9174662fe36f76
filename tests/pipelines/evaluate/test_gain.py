"""The share of a retriever's gain, and losses by how often the store has a token."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluate.gain import by_frequency, recovered


def test_the_share_is_of_the_gain_in_log_likelihood():
    base, retriever = np.full(12, 3.0), np.full(12, 2.0)
    document = np.repeat(["a", "b", "c"], 4)
    recovery = recovered(base, retriever, np.full(12, 2.25), document)
    assert (recovery.value, recovery.low, recovery.high) == (0.75, 0.75, 0.75)
    assert recovered(base, retriever, retriever, document).value == 1.0
    assert recovered(base, retriever, base, document).value == 0.0


def test_its_interval_resamples_documents_with_both_gains_of_one_draw():
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(40), 25)
    gain = np.repeat(rng.uniform(0.1, 1.0, 40), 25)
    base = rng.uniform(2, 4, 1000)
    share = recovered(base, base - gain, base - 0.8 * gain, document)
    assert share.value == pytest.approx(0.8)
    assert (share.low, share.high) == pytest.approx((0.8, 0.8)), "gains that go together say the same in every draw"
    noisy = recovered(base, base - gain, base - gain * np.repeat(rng.uniform(0.5, 1.0, 40), 25), document)
    assert noisy.low < noisy.value < noisy.high


def test_where_the_retriever_gains_nothing_no_share_is_sure():
    assert recovered([2.0, 2.0], [2.0, 2.0], [1.0, 1.0], ["a", "b"]).value == np.inf
    base, document = np.full(20, 2.0), np.arange(20)
    retriever = base - np.where(document < 12, 1.0, -1.0)  # in a fifth of the draws it loses
    recovery = recovered(base, retriever, base - 0.1, document)
    assert recovery.value == pytest.approx(0.5) and recovery.high == np.inf and np.isfinite(recovery.low)
    rarely = recovered(base, base - np.where(document < 16, 1.0, -1.0), base - 0.1, document)
    assert np.isfinite(rarely.high), "a few draws without gain do not spoil an interval"


def test_losses_go_to_the_bucket_of_the_tokens_frequency():
    stored = np.repeat(np.array([1, 2, 3], np.int32), [1, 9, 10])
    token = np.array([0, 1, 2, 2, 3, 7], np.int32)
    buckets = by_frequency(token, stored, {"base": [1.0, 2.0, 3.0, 5.0, 7.0, 3.0]})
    assert [(bucket.least, bucket.tokens, bucket.losses["base"]) for bucket in buckets] == [
        (0, 2, 2.0),
        (1, 3, 10 / 3),
        (10, 1, 7.0),
    ]
