"""Search by vectors: nearest rows by cosine distance, through an index where there is one, or exactly.

A condition is applied before the search (`mnemic.dataset.index.ties`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import RowIds
from mnemic.dataset.failures import reading
from mnemic.dataset.index.held_vectors import distances_of, held_vectors
from mnemic.dataset.index.plan import VectorSettings, search_settings
from mnemic.dataset.index.rows import read_wide
from mnemic.dataset.index.ties import MARGIN, best_rows, flagged, names_of
from mnemic.dataset.snapshot import Snapshot
from mnemic.kept import expand
from mnemic.vectors import vectors

EXACT_ROWS = 2_000
"""A condition that leaves no more rows than this is answered exactly: reading them is not slower than the index."""

PLENTY = 4
"""Where a condition leaves so many times the rows wanted in the partitions that are looked at, no more partitions are
made ready: that takes as long as the search."""


def search_vector(
    snapshot: Snapshot,
    column: str,
    key: str | Sequence[str],
    query: npt.NDArray[Any],
    k: int,
    where: str | None,
    settings: VectorSettings | None = None,
) -> pa.Table:
    """The ``k`` rows nearest to ``query`` [d], any number type: the columns ``key``, `_distance`, `_rowid`.

    Nearest first, by cosine distance. The search is exact where the dataset has no vector index, and where ``where``
    leaves `EXACT_ROWS` rows or fewer. ``settings``: by default those that the recall of the index was measured with.
    More partitions are looked at as long as ``where`` leaves fewer than ``k`` rows of them. Distances of an index are
    estimated from codes of 8 bits a component.
    """
    in_memory = held_vectors(snapshot, column) if settings is None else None
    if in_memory is None:
        settings = settings or search_settings(snapshot, column)

    def ask(where: str | None) -> pa.Table:
        if in_memory is not None:
            return in_memory.nearest(np.asarray(query, np.float32), MARGIN * k, where)
        return _nearest(snapshot, column, query, MARGIN * k, where, settings)

    candidates = ask(where) if settings is None else flagged(snapshot, where, k, "_distance", 1, ask)
    return best_rows(snapshot, candidates, "_distance", 1.0, k, names_of(key))


def search_among(
    snapshot: Snapshot,
    column: str,
    key: str | Sequence[str],
    query: npt.NDArray[Any],
    k: int,
    numbers: RowIds,
) -> pa.Table:
    """As `search_vector`, exactly, among the rows with the row ids ``numbers`` [n]: no other row is looked at."""
    in_memory, numbers = held_vectors(snapshot, column), np.sort(numbers)
    rows = None if in_memory is None else in_memory.of(numbers)
    if rows is None:
        column_of_rows = read_wide(snapshot, numbers, [column])[column]
        there = column_of_rows.is_valid()
        numbers = numbers[there.to_numpy()]
        rows = vectors(column_of_rows.filter(there), np.float32, copy=False)
    distances = distances_of(rows, np.asarray(query, np.float32))
    order = np.lexsort((numbers, distances))[: MARGIN * k]
    candidates = pa.table({"_distance": pa.array(distances[order]), "_rowid": pa.array(numbers[order])})
    return best_rows(snapshot, candidates, "_distance", 1.0, k, names_of(key))


def _nearest(
    snapshot: Snapshot,
    column: str,
    query: npt.NDArray[Any],
    count: int,
    where: str | None,
    settings: VectorSettings | None,
) -> pa.Table:
    """The ``count`` nearest rows, with `_distance` and `_rowid`, and none that ``where`` excludes."""
    matching = None if settings is None or where is None else snapshot.count(where)
    nearest: dict[str, Any] = {
        "column": column,
        "q": np.asarray(query, dtype=np.float32),
        "k": count,
        "metric": "cosine",
    }
    if settings is None or (matching is not None and matching <= EXACT_ROWS):
        nearest["use_index"] = False
    else:
        nearest["approx_mode"] = "accurate"
        nearest["minimum_nprobes"] = settings.nprobes
        share = settings.nprobes / settings.partitions
        if matching is None or matching * share >= PLENTY * count:
            nearest["maximum_nprobes"] = settings.nprobes

    def ask() -> pa.Table:
        with reading(snapshot.uri, where):
            scanner = snapshot.native.scanner(
                columns=["_distance"],
                with_row_id=True,
                nearest=nearest,
                filter=expand(where, snapshot.schema.names),
                prefilter=True,
            )
            return scanner.to_table()

    candidates = ask()
    if matching is not None and len(candidates) < min(matching, count) and nearest.pop("maximum_nprobes", None):
        candidates = ask()
    return candidates


def search_exact(
    snapshot: Snapshot,
    column: str,
    queries: npt.NDArray[Any],
    k: int,
    where: str | None = None,
    fragments: Sequence[int] | None = None,
) -> tuple[RowIds, npt.NDArray[np.float32]]:
    """The ``k`` nearest rows of each query, by reading every vector: row ids and cosine distances, [queries, k].

    Reads 8,192 rows at a time. Where there are fewer than ``k`` rows the rest has distance infinity.
    """
    unit = _unit(np.atleast_2d(np.asarray(queries, dtype=np.float32)))
    rows = np.zeros((len(unit), k), np.uint64)
    distances = np.full((len(unit), k), np.inf, np.float32)
    for batch in snapshot.scan([column], where=where, fragments=fragments, row_ids=True):
        near = (1.0 - unit @ _unit(vectors(batch[column], copy=False)).T).astype(np.float32)
        here = np.broadcast_to(batch["_rowid"].to_numpy(), near.shape)
        rows, distances = nearest_of(np.hstack([rows, here]), np.hstack([distances, near]), k)
    return rows, distances


def nearest_of(rows: RowIds, distances: npt.NDArray[np.float32], k: int) -> tuple[RowIds, npt.NDArray[np.float32]]:
    """The ``k`` nearest of each line: uint64 and float32 [queries, k], from ``rows`` and ``distances`` [queries, n].

    Nearest first, equal distances in the order of their row ids.
    """
    if rows.shape[1] > 4 * k:
        best = np.argpartition(distances, 2 * k, axis=1)[:, : 2 * k]
        rows, distances = np.take_along_axis(rows, best, 1), np.take_along_axis(distances, best, 1)
    order = np.lexsort((rows, distances), axis=1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (rows / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return unit
