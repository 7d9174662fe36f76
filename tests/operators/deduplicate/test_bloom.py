"""Bloom filters: no miss ever, no more false hits than asked for, capacity, merging, growth."""

from __future__ import annotations

import numpy as np
import pytest

from mnemic.errors import StepError
from operators.deduplicate.bands import BAND_SHIFT, keys_of, run_of, shard_bounds
from operators.deduplicate.bloom import LARGEST, BloomFilter, bits_for, share_of_error
from operators.deduplicate.candidates import ERROR, plan, room_for
from operators.deduplicate.filters import BandFilters, filters_of, seen_by

GENERATOR = np.random.default_rng(0)


def keys(count: int) -> np.ndarray:
    return GENERATOR.integers(1, 2**64, count, dtype=np.uint64)


def banded(count: int, bands: int) -> np.ndarray:
    band = GENERATOR.integers(0, bands + 1, count).astype(np.uint64) << np.uint64(BAND_SHIFT)
    return np.sort(band | GENERATOR.integers(1, 1 << BAND_SHIFT, count, dtype=np.uint64))


def test_what_was_added_is_found_and_what_was_not_seldom_is() -> None:
    mine, others = keys(50_000), keys(400_000)
    one = BloomFilter(50_000, 1e-3)
    assert one.add(mine).sum() <= 50  # of each, whether it was there before
    assert one.contains(mine).all() and one.add(mine).all()
    false = one.contains(others).mean()
    assert false < 1e-3 and one.observed_error < 1e-3
    assert false == pytest.approx(one.observed_error, rel=0.25)
    assert 0.45 < one.fill < 0.55 and abs(one.count - 50_000) <= 50


def test_a_key_is_seen_the_second_time_also_in_one_call() -> None:
    one = BloomFilter(10, 1e-6)
    assert one.add(np.array([5, 6, 5, 7, 6], np.uint64)).tolist() == [False, False, True, False, True]
    assert one.count == 3


def test_a_full_filter_refuses_and_is_left_as_it_was() -> None:
    one = BloomFilter(100, 1e-3)
    members = keys(100)
    one.add(members)
    before = one.bits.copy()
    with pytest.raises(StepError, match="holds 100 of 100 keys, and 1 more"):
        one.add(np.array([12345], np.uint64))
    assert np.array_equal(one.bits, before)
    assert one.add(members).all()  # what is there may come again


def test_merged_filters_are_the_single_one() -> None:
    mine, theirs = keys(300), keys(300)
    one, other, both = (BloomFilter(1000, 1e-4) for _ in range(3))
    one.add(mine)
    other.add(theirs)
    both.add(np.concatenate([mine, theirs]))
    merged = one.merge(other)
    assert np.array_equal(merged.bits, both.bits) and merged.count == 600
    with pytest.raises(StepError, match="another shape"):
        one.merge(BloomFilter(1001, 1e-4))


def test_the_error_is_shared_by_the_bands() -> None:
    for bands in (1, 16, 32):
        assert 1 - (1 - share_of_error(1e-5, bands)) ** bands == pytest.approx(1e-5, rel=1e-6)
    assert 16 * bits_for(10**6, share_of_error(1e-5, 16)) / 8 / 10**6 < 64


def test_impossible_filters_are_refused() -> None:
    for capacity, error, sentence in ((0, 0.1, "at least 1"), (5, 1.0, "between 0 and 1"), (10**9, 1e-6, "split")):
        with pytest.raises(StepError, match=sentence):
            BloomFilter(capacity, error)
    with pytest.raises(StepError, match="do not fit"):
        BloomFilter(100, 0.1, 0, np.zeros(3, np.uint64))


def test_filters_of_bands_grow_and_are_read_back() -> None:
    (bounds,) = shard_bounds(4, 1)
    filters = BandFilters(bounds, "scheme", 4, 100)
    several = [banded(2000, 4) for _ in range(3)]
    for part in several:
        filters.add(part)
        filters.add(part)
    assert all(len(generations) > 1 for generations in filters.generations.values())
    (read,) = filters_of(filters.table(), "scheme", 4, 100)
    assert read.table().equals(filters.table())
    other = banded(100_000, 4)
    for one in (filters, read):
        assert all(one.contains(part).all() for part in several)
        assert one.contains(other).mean() < 10 * ERROR
    assert sum(row["held"] for row in filters.table().to_pylist()) == 6000
    with pytest.raises(StepError, match="made of other signatures"):
        filters_of(filters.table(), "another", 4, 100)


def test_shards_of_filters_merge_to_the_single_one() -> None:
    bounds = shard_bounds(3, 2)
    every = banded(3000, 3)
    shards = []
    for low, high in bounds:
        whole, parts = BandFilters((low, high), "s", 3, 3000), []
        mine = every[(every >= np.uint64(low)) & (every <= np.uint64(high))]
        whole.add(mine)
        for part in (mine[::2], mine[1::2]):
            parts.append(BandFilters((low, high), "s", 3, 3000))
            parts[-1].add(part)
        merged = parts[0].merge(parts[1])
        for band, (one,) in merged.generations.items():
            assert np.array_equal(one.bits, whole.generations[band][0].bits)
        shards.append(merged)
    assert seen_by(shards, every).all()
    assert not seen_by(shards[:1], every[every > np.uint64(bounds[0][1])]).any()
    with pytest.raises(StepError, match="do not merge"):
        shards[0].merge(shards[1])


def test_sums_collide_where_keys_do_not() -> None:
    """Minima of long documents are small: their sums collide, mixing hashes of them do not."""
    signatures = GENERATOR.integers(0, 1 << 20, (20_000, 12)).astype(np.uint32)
    assert len(np.unique(signatures[:, :6].sum(axis=1))) < 20_000
    forms, salts = GENERATOR.integers(0, 2**64, (20_000, 2), dtype=np.uint64), np.zeros(20_000, np.uint64)
    sums = keys_of(forms, signatures, salts, 2, 6)
    assert len(np.unique(sums)) == 60_000
    assert (sums >> np.uint64(BAND_SHIFT) == np.arange(3)).all()
    other = keys_of(forms, signatures[:, [1, 0, *range(2, 12)]], salts, 2, 6)
    assert (other[:, 1] != sums[:, 1]).all() and (other[:, 2] == sums[:, 2]).all()
    signatures[5] = 0xFFFFFFFF  # no shingles, no bands
    ascending, rows = run_of(keys_of(forms, signatures, salts, 2, 6), np.arange(20_000, dtype=np.uint64))
    assert (np.diff(ascending.astype(object)) > 0).all() and (rows == 5).sum() == 1


@pytest.mark.parametrize("method", ["auto", "exact", "minhash", "lshbloom"])
@pytest.mark.parametrize("documents", [1, 10**6, 10**8, 10**9, 10**10])
def test_no_shard_exceeds_the_memory_or_the_largest_filter(method: str, documents: int) -> None:
    for memory in (10**9, 16 * 10**9):
        chosen = plan(documents, memory, method, None)
        assert chosen.bytes <= memory
        for bounds in shard_bounds(chosen.bands, chosen.shards)[:3]:
            assert bits_for(room_for(documents, bounds), share_of_error(ERROR, chosen.bands + 1)) <= LARGEST
    if method == "auto":
        assert plan(10**6, 16 * 10**9, method, None).method == "sort"
        assert plan(10**9, 16 * 10**9, method, None).method == "filter"
        assert plan(10**6, 16 * 10**9, method, None).bands > plan(10**9, 16 * 10**9, method, None).bands
