"""Bloom filters at capacity, and what it costs to add documents to an index of a million."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator
from functools import partial

import numpy as np

from bench.report import Row, tell
from operators.deduplicate.bands import Bounds, keys_of, run_of, shard_bounds, within
from operators.deduplicate.bloom import BloomFilter, bits_for, share_of_error
from operators.deduplicate.candidates import Components, Shared, concatenated, divided, shared_keys, shared_with_earlier
from operators.deduplicate.filters import BandFilters, seen_by
from operators.deduplicate.minhash import sketch

ERROR = 1e-5
SHINGLES = 5_000


def bloom_rows(quick: bool) -> list[Row]:
    """Bytes a document, and false flags at capacity."""
    count = 100_000 if quick else 1_000_000
    rows = [
        Row(
            "bloom_bytes" if bands == 16 else f"bloom_bytes_{bands}",
            f"bytes a document, {bands} bands, 1e-5 together",
            bands * bits_for(10**6, share_of_error(ERROR, bands)) / 8 / 10**6,
            "B",
            80 if bands == 16 else None,
            64 if bands == 16 else None,
            higher_is_better=False,
        )
        for bands in (16, 20, 32)
    ]
    flagged = _false_flags(count, 16, 8)
    low, high = _poisson(flagged)
    metric = f"of {count:,} unrelated documents at capacity; 95 %: {low / count:.1e} to {high / count:.1e}"
    return [*rows, Row("bloom_extra_flags", metric, flagged / count, "", 2e-5, 1.2e-5, higher_is_better=False)]


def _false_flags(count: int, bands: int, rows: int) -> int:
    """Unrelated documents that the filters flag and that share no band with any, at capacity.

    Each filter holds the keys of ``count`` documents; as many others ask. A component of a document of `SHINGLES`
    shingles is the smallest of about SHINGLES / components uniform 32-bit values, each in a component of its own; that
    law is drawn from directly, and compared with the sketch's own on some documents first.
    """
    _check_law(bands * rows)
    generator = np.random.default_rng(1)
    filters = [BloomFilter(count, share_of_error(ERROR, bands)) for _ in range(bands)]
    added: list[list[np.ndarray]] = [[] for _ in range(bands)]
    flagged = 0
    for asking in (False, True):
        for start in range(0, count, 50_000):
            some = min(50_000, count - start)
            signatures = _signatures(generator, some, bands * rows)
            nothing = np.zeros((some, 2), np.uint64)
            keys = keys_of(nothing, signatures, np.zeros(some, np.uint64), bands, rows)[:, 1:]
            hits, exact = np.zeros(some, np.bool_), np.zeros(some, np.bool_)
            for band, one in enumerate(filters):
                column = np.ascontiguousarray(keys[:, band])
                if not asking:
                    one.add(column)
                    added[band].append(column)
                    continue
                contained = one.contains(column)
                hits |= contained
                if contained.any():
                    exact[contained] |= np.isin(column[contained], np.concatenate(added[band]))
            flagged += int((hits & ~exact).sum())
    return flagged


def _signatures(generator: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Signatures of unrelated documents: the smallest of Binomial(SHINGLES, 1 / size) uniform values."""
    members = np.maximum(generator.binomial(SHINGLES, 1 / size, (count, size)), 1)
    smallest = 1 - generator.random((count, size)) ** (1 / members)
    return (smallest * 2**32).astype(np.uint32)


def _check_law(size: int) -> None:
    generator = np.random.default_rng(2)
    smallest, signature = np.empty(size, np.uint64), np.empty(size, np.uint32)
    own = []
    for _ in range(200):
        sketch(generator.integers(0, 2**64, SHINGLES, dtype=np.uint64), SHINGLES, np.uint64(1), smallest, signature)
        own.append(signature.copy())
    mean, drawn = float(np.mean(own)), float(np.mean(_signatures(generator, 2000, size)))
    if abs(mean / drawn - 1) > 0.03:
        raise SystemExit(f"the law of the simulated signatures is not the sketch's: means {drawn:.4g} and {mean:.4g}")


def _poisson(count: int) -> tuple[float, float]:
    """The 95 % interval of a Poisson mean (Wilson and Hilferty's approximation of the chi-squared quantiles)."""
    low = 0.0 if count == 0 else count * (1 - 1 / (9 * count) - 1.96 / (3 * count**0.5)) ** 3
    after = count + 1
    return low, after * (1 - 1 / (9 * after) + 1.96 / (3 * after**0.5)) ** 3


def increment_row(quick: bool) -> Row:
    """Adding 1 % to an index of a million signatures, of which a fifth resemble another one."""
    count, bands, rows = 1_000_000, 20, 6
    forms, signatures = _corpus(count + count // 100, bands * rows)
    (bounds,) = shard_bounds(bands, 1)

    def run(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        pieces = []
        for start in range(first, last, 8192):
            part = slice(start, min(start + 8192, last))
            salts = np.zeros(part.stop - part.start, np.uint64)
            keys = keys_of(forms[part], signatures[part], salts, bands, rows)
            pieces.append(run_of(keys, np.arange(part.start, part.stop, dtype=np.uint64)))
        return concatenated(iter(pieces)) if len(pieces) > 1 else pieces[0]

    started = time.process_time()
    pieces = [run(start, min(start + 8192, count)) for start in range(0, count, 8192)]
    shared = shared_keys(lambda: iter(pieces), bounds, "sort", count)
    filters = BandFilters(bounds, "bench", bands, count + count // 10)
    for keys, _ in pieces:
        filters.add(keys)
    _packed(shared)
    full = time.process_time() - started

    started = time.process_time()
    keys, owners = concatenated(iter(pieces))
    order = np.argsort(keys)
    index = (keys[order], owners[order])
    fixed = time.process_time() - started

    def earlier() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield _cut(index, bounds)

    seconds = []
    for _ in range(3):
        added = BandFilters(bounds, "bench", bands, count, copy.deepcopy(filters.generations))
        started = time.process_time()
        new = [run(start, min(start + 8192, len(forms))) for start in range(count, len(forms), 8192)]
        shared = shared_with_earlier(concatenated(iter(new)), partial(seen_by, [added]), earlier)
        for some, _ in new:
            added.add(some)
        _packed(shared)
        seconds.append(time.process_time() - started)
    share = statistics.median(seconds) / full
    tell(f"  full run {full:.1f} s, increment {statistics.median(seconds):.3f} s, index in order {fixed:.1f} s")
    metric = "adding 1 % to a million signatures, of the full run"
    return Row("increment_share", metric, share, "", 0.03, 0.015, higher_is_better=False)


def _packed(shared: Shared) -> None:
    linked = Components([shared.rows])
    linked.link(shared)
    divided(shared, linked.rows, linked.packs(10_000))


def _cut(run: tuple[np.ndarray, np.ndarray], bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    part = within(run[0], bounds)
    return run[0][part], run[1][part]


def _corpus(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of texts and signatures of ``count`` documents; a fifth is an edit (J 0.9) of another one."""
    generator = np.random.default_rng(3)
    signatures = generator.integers(0, 2**32 - 1, (count, size), dtype=np.uint32)
    edits = np.flatnonzero(generator.random(count) < 0.2)
    origins = generator.integers(0, count, len(edits))
    same = generator.random((len(edits), size)) < 0.9
    signatures[edits] = np.where(same, signatures[origins], signatures[edits])
    return generator.integers(0, 2**64, (count, 2), dtype=np.uint64), signatures
