"""Recall of the vector index against exact search, on a sample of the rows, and the setting that reaches it.

The queries are vectors of rows, chosen by the smallest ids (which are hashes), moved by noise: a row's own vector finds
itself in any index. Ever more partitions are looked at until the target is reached. That number, the recall and the
median time of a search are the record of the index; searches use what was measured.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.arrays import RowIds
from mnemic.dataset.index.build import Workers, in_this_process, partitions_of, parts
from mnemic.dataset.index.nearest import nearest_of, search_exact, search_vector
from mnemic.dataset.index.plan import VectorSettings, built
from mnemic.dataset.index.ties import IDENTITY
from mnemic.dataset.snapshot import Snapshot
from mnemic.vectors import vectors

K = 10
SAMPLE = 200
NOISE = 1.5
"""Length of the noise added to a unit vector.

On a million jittered sentences with 64, 96 and 128 of 1,024 partitions looked at, such queries had a recall of .925,
.945 and .959, sentences that no row was made of .942, .953 and .966; on 262,144 sentences with 32, 48 and 64 of 256,
.901, .930 and .951 for .921, .948 and .962. Less noise promises too much: with 0.75 it is .968, .979, .982.
"""

TARGET = 0.95
"""Recall asked of the sample, and promised."""

GROWTH = 1.25
"""Factor from one number of partitions that is tried to the next."""

CANDIDATES = 200
"""Rows that the measured searches ask for, as a user's search does."""


@dataclass(frozen=True)
class ExactNeighbours:
    """Work: the exact neighbours of queries among the rows of some fragments."""

    column: str
    fragments: tuple[int, ...]
    queries: npt.NDArray[np.float32]
    k: int

    def run(self, snapshot: Snapshot) -> tuple[RowIds, npt.NDArray[np.float32]]:
        return search_exact(snapshot, self.column, self.queries, self.k, fragments=self.fragments)


def measure_recall(snapshot: Snapshot, column: str, workers: Workers = in_this_process) -> dict[str, Any]:
    """Choose how many partitions a query of the index on ``column`` looks at, and measure what it then finds.

    Gives kind, partitions, nprobes, rows, segments' bytes, recall_at_10, p50_ms, sample and noise. Every vector is read
    once, by ``workers``. Times are those of this machine as busy as it was.
    """
    index = built(snapshot)[column]
    partitions = partitions_of(snapshot, index)
    queries = sample_queries(snapshot, column)
    truth = exact_neighbours(snapshot, column, queries, 2 * K, workers)
    nprobes = max(1, partitions // 32)
    while True:
        nprobes = min(nprobes, partitions)
        answers, seconds = _searched(snapshot, column, queries, VectorSettings(index.kind, partitions, nprobes))
        recall = recall_of(answers, *truth)
        if recall >= TARGET or nprobes == partitions:
            break
        nprobes = math.ceil(GROWTH * nprobes)
    return {
        "kind": index.kind,
        "partitions": partitions,
        "nprobes": nprobes,
        "rows": index.rows,
        "bytes": index.bytes,
        "recall_at_10": round(recall, 4),
        "p50_ms": round(1000 * statistics.median(seconds), 2),
        "sample": len(queries),
        "noise": NOISE,
    }


def sample_queries(snapshot: Snapshot, column: str, count: int = SAMPLE) -> npt.NDArray[np.float32]:
    """Unit vectors near those of the ``count`` rows with the smallest ids; the same rows give the same queries."""
    smallest = np.zeros(0, "U64")
    rows = np.zeros(0, np.uint64)
    for batch in snapshot.scan([IDENTITY], row_ids=True, batch_size=65_536):
        ids = np.concatenate([smallest, batch[IDENTITY].to_numpy(zero_copy_only=False).astype("U64")])
        here = np.concatenate([rows, batch["_rowid"].to_numpy()])
        order = np.argsort(ids, kind="stable")[:count]
        smallest, rows = ids[order], here[order]
    stored = vectors(snapshot.take_rows(rows, [column])[column], np.float32)
    noise = np.random.default_rng(len(rows)).standard_normal(stored.shape, np.float32)
    moved = stored + noise * (NOISE / stored.shape[1] ** 0.5)
    unit: npt.NDArray[np.float32] = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    return unit


def exact_neighbours(
    snapshot: Snapshot, column: str, queries: npt.NDArray[np.float32], k: int, workers: Workers = in_this_process
) -> tuple[RowIds, npt.NDArray[np.float32]]:
    """`search_exact` over all rows, by workers that take some fragments each.

    ``queries`` float32 [q, d] -> row ids uint64 [q, k], distances float32 [q, k].
    """
    rows = np.zeros((len(queries), 0), np.uint64)
    distances = np.zeros((len(queries), 0), np.float32)
    for here, near in workers(snapshot, [ExactNeighbours(column, group, queries, k) for group in parts(snapshot)]):
        rows, distances = nearest_of(np.hstack([rows, here]), np.hstack([distances, near]), k)
    return rows, distances


def recall_of(answers: list[list[int]], rows: RowIds, distances: npt.NDArray[np.float32], k: int = K) -> float:
    """Share of the ``k`` true neighbours among the first ``k`` answers; rows as near as the k-th count too.

    ``rows`` uint64 and ``distances`` float32 [queries, m] are exact, with m above ``k``, for ties.
    """
    hits = 0
    expected = 0
    for mine, true, distance in zip(answers, rows, distances, strict=True):
        there = int(np.isfinite(distance[:k]).sum())
        if there == 0:
            continue
        as_near = set(true[distance <= distance[there - 1] + 1e-6].tolist())
        hits += min(there, len(as_near.intersection(mine[:k])))
        expected += there
    return hits / expected if expected else 1.0


def _searched(
    snapshot: Snapshot, column: str, queries: npt.NDArray[np.float32], settings: VectorSettings
) -> tuple[list[list[int]], list[float]]:
    answers, seconds = [], []
    for query in queries:
        started = time.perf_counter()
        table = search_vector(snapshot, column, (), query, CANDIDATES, None, settings)
        seconds.append(time.perf_counter() - started)
        answers.append(table["_rowid"].to_pylist())
    return answers, seconds
