"""The teacher's search against faiss, flat and inverted, and against its own bare products.

Keys are hidden states of SmolLM2 on documentation (`bench.teacher.keys`). Ours is the whole self-join: every row of the
store with its 256 nearest in other documents, exact distances, the lists included (coding, clustering, measuring). The
peers are timed on sampled rows as queries and scaled to all rows, which a flat index, that compares every query with
every row, does not notice; building the inverted index is left out for the peer. All run the same two threads, in turn:
three pairs at 200,000 rows, and one at a million.

`teacher_vs_ivf` lets faiss look at as many lists as it needs for our recall, with the better of two numbers of lists.
`teacher_efficiency` is the time of the bare products of the same shapes over that of the whole self-join, preparation
included: products in float32, as an exact search has them. Ours are of integers of eight bits, about four times as
fast, beside which everything else weighs more; `teacher_efficiency_integers` compares with these.

Expected on machine B of LOG.md (2 cores of an Intel Xeon): teacher_vs_flat 39.1 at 200,000 rows with recall@64 .982 and
82.9 at a million with .972 (one pair), teacher_vs_ivf 7.2, teacher_efficiency .66, teacher_efficiency_integers .16,
target_bytes 198.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bench.report import Row, main, paired, peer_library, tell, timed
from bench.teacher.flat import K, inverted_file, shared, true_neighbours
from bench.teacher.keys import Keys, keys
from mnemic.neighbours.codes import products
from mnemic.neighbours.layout import nearest_lists
from mnemic.neighbours.lists import ROUNDS, TILE, Lists
from mnemic.threads import side_by_side
from operators.teacher import Neighbours
from operators.teacher.distribution import distribution
from operators.teacher.targets import target_columns

AUDITED = 512
"""Rows whose neighbours are compared with those that a flat index finds."""

COMPILED = 1_024
"""Rows that are searched before anything is timed: the first search compiles, for seconds where nothing is cached."""


def measure(quick: bool) -> list[Row]:
    torch.set_num_threads(os.cpu_count() or 1)
    peer_library("faiss").omp_set_num_threads(os.cpu_count() or 1)
    rows: list[Row] = []
    for size in (30_000,) if quick else (200_000, 1_000_000):
        main_size = size != 1_000_000
        rows += of_size(keys(size), main_size, pairs=3 if main_size and not quick else 1)
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows  # bounds are for 200,000 rows


def of_size(store_keys: Keys, main_size: bool, pairs: int) -> list[Row]:
    faiss = peer_library("faiss")
    size = len(store_keys.token)
    vectors, document = torch.from_numpy(store_keys.key), torch.from_numpy(store_keys.document)
    floats = store_keys.key.astype(np.float32)
    sampled = np.sort(np.random.default_rng(1).permutation(size)[: min(size, 4_096)])
    scale = size / len(sampled)
    audited = np.sort(np.random.default_rng(2).permutation(size)[:AUDITED])
    flat = faiss.IndexFlatL2(store_keys.key.shape[1])
    flat.add(floats)
    truth = true_neighbours(flat, store_keys.document, floats[audited], audited)
    last: dict[str, Any] = {}
    Lists(vectors[:COMPILED], document[:COMPILED]).search(vectors[:COMPILED], document[:COMPILED], K)

    def ours() -> float:
        started = time.perf_counter()
        store = Lists(vectors, document)
        last["measured"] = store.measure(Neighbours().recall)
        last["prepared"] = time.perf_counter() - started
        last["store"], last["neighbours"] = store, store.search(vectors, document, K)
        return time.perf_counter() - started

    seconds, seconds_flat, speedup = paired(ours, lambda: scale * timed(lambda: flat.search(floats[sampled], K)), pairs)
    recall = shared(last["neighbours"][1][audited], truth)
    tell(f"{size:,} rows: {seconds:.1f} s ({last['prepared']:.1f} of preparation), flat {seconds_flat:.1f} s")
    tell(f"  {last['measured']}; recall@64 {recall:.4f}, @256 {shared(last['neighbours'][1][audited], truth, K):.4f}")
    inverted, settings = inverted_file(floats, store_keys.document, audited, truth, recall)
    seconds_ivf = statistics.median(scale * timed(lambda: inverted.search(floats[sampled], K)) for _ in range(pairs))
    tell(f"  faiss IVF-Flat {settings}: {seconds_ivf:.1f} s")
    bare, bare_integers = bare_products(last["store"], vectors)
    tell(f"  bare products: float32 {bare:.1f} s, integers {bare_integers:.1f} s")
    name = f"{size:,} rows"
    suffix = "" if main_size else "_1m"
    against = f"faiss {faiss.__version__}"
    result = [
        Row(f"teacher_vs_flat{suffix}", f"{name}, recall@64 {recall:.3f}", speedup, "x", 5 if main_size else None,
            None if main_size else 20, peer=f"{against} IndexFlatL2"),
        Row(f"teacher_vs_ivf{suffix}", f"{name}, at equal recall", seconds_ivf / seconds, "x", 3, 8,
            peer=f"{against} IndexIVFFlat {settings}"),
        Row(f"teacher_efficiency{suffix}", "bare products of the same shapes, float32", bare / seconds, "", 0.5, 0.8),
        Row(f"teacher_efficiency_integers{suffix}", "the same of integers", bare_integers / seconds, ""),
        Row(f"teacher_recall{suffix}", f"recall@64 of {AUDITED} rows, other documents only", recall, "", 0.97),
        Row(f"teacher_rate{suffix}", "rows searched", size / seconds, "rows/s"),
    ]  # fmt: skip
    if main_size:
        result += stored(store_keys, last["neighbours"])
    return result


def bare_products(store: Lists, queries: torch.Tensor) -> tuple[float, float]:
    """Seconds of the products that a search multiplies, without anything else: in float32, and of integers."""
    codes = store.coder.codes(queries)
    shapes: list[tuple[int, int, int]] = []
    nearest = nearest_lists(store.heads, codes, store.probes)
    order = torch.argsort(nearest[:, 0], stable=True)
    for block in torch.split(order, 4096):
        for first, last in pairwise((0, *ROUNDS, nearest.shape[1])):
            for which, begin, end in store.tiles(nearest[block][:, first:last]):
                shapes += [(len(part), begin, end) for part in torch.split(which, TILE)]

    floats = [part.code.float() for part in (codes, store.codes)]

    def multiply(part: list[tuple[int, int, int]]) -> None:
        for rows, begin, end in part:
            floats[0][:rows] @ floats[1][begin:end].T

    def multiply_integers(part: list[tuple[int, int, int]]) -> None:
        for rows, begin, end in part:
            products(codes.code[:rows], store.codes.code[begin:end])

    threads = torch.get_num_threads()
    parts = [shapes[at::threads] for at in range(threads)]
    both = (lambda: side_by_side(multiply, parts, "cpu"), lambda: side_by_side(multiply_integers, parts, "cpu"))
    return timed(both[0]), timed(both[1])


def stored(store_keys: Keys, neighbours: Any) -> list[Row]:
    """Bytes of a token's distribution, and of its neighbours."""
    distances, rows = (part[:20_000] for part in neighbours)
    votes = np.where(rows < 0, -1, store_keys.token[rows]).astype(np.int32)
    target = distribution(distances, votes, store_keys.token[:20_000], 2.0, 64)
    columns = target_columns(target, pa.uint16())
    bytes_of = sum(column.nbytes for column in columns) / len(rows)
    return [
        Row("target_bytes", "bytes per token of the distribution, 64 tokens", bytes_of, "B", 264, 200, False),
        Row("neighbour_bytes", "bytes per token of its 256 neighbours and distances", 8.0 * K, "B"),
        Row("target_rest", "mass outside the 64 tokens", float(target.rest.mean()), ""),
    ]


if __name__ == "__main__":
    sys.exit(main("teacher", __doc__ or "", measure))
