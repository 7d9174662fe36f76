"""Recall of the vector index against exact search, on a sample of the rows, and the setting that reaches it.

The queries are vectors of rows, chosen by the smallest ids (which are hashes). Any index finds the row itself, the rows
that hold it and its near copies; a question has none of these in the bank, so they are left out. The fewest partitions
that reach the target are looked at. That number, the recall and the median time of a search are the record of the
index; searches use what was measured.
"""

from __future__ import annotations

import bisect
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
SAMPLE = 800
"""Queries. Near a recall of .95 that of one is .15 off the mean: 200 leave a standard error of .011, 800 of .005."""

RANKED = 50
"""True neighbours of a query that are known, its copies among them."""

COPIES = 0.5
"""A row nearer than this share of the distance of the last true neighbour is a copy of the query.

On 100,000 jittered sentences with 38 of 128 partitions looked at, such queries had a recall of .968, sentences that no
row was made of .982; on 300,000 with 35 of 256, .960 and .978. Rows moved by noise promised too much there: with 13 of
256 they had .966, sentences .937.
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

    Gives kind, partitions, nprobes, rows, segments' bytes, recall_at_10, p50_ms and sample. Every vector is read
    once, by ``workers``. Times are those of this machine as busy as it was.
    """
    index = built(snapshot)[column]
    partitions = partitions_of(snapshot, index)
    queries = sample_queries(snapshot, column, SAMPLE)
    rows, distances = exact_neighbours(snapshot, column, queries, RANKED, workers)
    copies = copies_among(distances)
    recalls: dict[int, float] = {}
    times: dict[int, float] = {}

    def reaches(nprobes: int) -> bool:
        answers, seconds = _searched(snapshot, column, queries, VectorSettings(index.kind, partitions, nprobes))
        recalls[nprobes] = recall_of(answers, rows, distances, copies=copies)
        times[nprobes] = 1000 * statistics.median(seconds)
        return recalls[nprobes] >= TARGET

    choices = choices_of(partitions)
    nprobes = choices[bisect.bisect_left(choices, True, hi=len(choices) - 1, key=reaches)]
    if nprobes not in recalls:  # all partitions, which are looked at whatever they reach
        reaches(nprobes)
    return {
        "kind": index.kind,
        "partitions": partitions,
        "nprobes": nprobes,
        "rows": index.rows,
        "bytes": index.bytes,
        "recall_at_10": round(recalls[nprobes], 4),
        "p50_ms": round(times[nprobes], 2),
        "sample": len(queries),
    }


def choices_of(partitions: int) -> list[int]:
    """Numbers of partitions that a query may look at, ascending: a 32nd of them, and `GROWTH` times more, up to all."""
    choices = [max(1, partitions // 32)]
    while choices[-1] < partitions:
        choices.append(min(partitions, math.ceil(GROWTH * choices[-1])))
    return choices


def sample_queries(snapshot: Snapshot, column: str, count: int) -> npt.NDArray[np.float32]:
    """The vectors of the ``count`` rows with the smallest ids, float32 [count, d]; the same rows give the same."""
    smallest = np.zeros(0, "U64")
    rows = np.zeros(0, np.uint64)
    for batch in snapshot.scan([IDENTITY], row_ids=True, batch_size=65_536):
        ids = np.concatenate([smallest, batch[IDENTITY].to_numpy(zero_copy_only=False).astype("U64")])
        here = np.concatenate([rows, batch["_rowid"].to_numpy()])
        order = np.argsort(ids, kind="stable")[:count]
        smallest, rows = ids[order], here[order]
    return vectors(snapshot.take_rows(rows, [column])[column], np.float32)


def copies_among(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which true neighbours are copies of their query: bool [queries, m] for ``distances`` float32 [queries, m]."""
    farthest = np.where(np.isfinite(distances), distances, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    copies: npt.NDArray[np.bool_] = distances < COPIES * farthest
    return copies


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


def recall_of(
    answers: list[list[int]],
    rows: RowIds,
    distances: npt.NDArray[np.float32],
    k: int = K,
    copies: npt.NDArray[np.bool_] | None = None,
) -> float:
    """Share of the ``k`` true neighbours among the first ``k`` answers; rows as near as the k-th count too.

    ``rows`` uint64 and ``distances`` float32 [queries, m] are exact, with m above ``k``, for ties. Those that are
    ``copies``, bool [queries, m], neither count nor are counted. Gives 1 where no query has a neighbour.
    """
    left_out = np.zeros(distances.shape, np.bool_) if copies is None else copies
    hits = 0
    expected = 0
    for mine, numbers, gaps, copied in zip(answers, rows, distances, left_out, strict=True):
        without = set(numbers[copied].tolist())
        first = [row for row in mine if row not in without][:k]
        true, distance = numbers[~copied], gaps[~copied]
        there = int(np.isfinite(distance[:k]).sum())
        if there == 0:
            continue
        as_near = set(true[distance <= distance[there - 1] + 1e-6].tolist())
        hits += min(there, len(as_near.intersection(first)))
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
