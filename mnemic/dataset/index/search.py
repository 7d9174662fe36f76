"""Full-text (BM25) and vector search over one dataset, and reading many rows at once.

A condition is applied before the search: only rows that satisfy it are ranked. (But for the name of a flag that most
rows have, as the leaves among events do: to look at it in the rows found costs less than a mask over all rows, which
adds half to a search of a million, and gives the same as long as enough of them have it.)

Rows are named by Lance's `_rowid`, because a condition such as `id IN (...)` reads the column of ids. Lance breaks ties
as it likes at its limit, so `MARGIN` times as many rows are asked of it, and equal scores are put in the order of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import RowIds
from mnemic.dataset.failures import readable_errors
from mnemic.dataset.index.plan import VectorSettings, search_settings
from mnemic.dataset.index.rows import read_rows
from mnemic.dataset.store import Snapshot
from mnemic.vectors import vectors

MARGIN = 2
"""Rows asked of Lance for each one wanted."""

FLAGGED_ROWS = 50_000
"""Rows from which a flag is looked at after the search."""

EXACT_ROWS = 2_000
"""A condition that leaves no more rows than this is answered exactly: reading them is not slower than the index."""

PLENTY = 4
"""Where a condition leaves so many times the rows wanted in the partitions that are looked at, no more partitions are
made ready: that takes as long as the search."""

IDENTITY = "id"


def search_text(
    snapshot: Snapshot, column: str, key: str | Sequence[str], query: str, k: int, where: str | None
) -> pa.Table:
    """The ``k`` rows with the highest BM25 score, best first: the columns ``key``, `_score`, `_rowid`.

    Words are compared as the index has them: lower case, English stems, without stop words; one that they share is
    enough. Numbers of documents and words are those of the whole column, whatever ``where`` leaves of it.
    """

    def ask(where: str | None) -> pa.Table:
        with readable_errors(snapshot.uri):
            return snapshot.native.scanner(
                columns=["_score"],
                with_row_id=True,
                full_text_query={"columns": [column], "query": query},
                filter=where,
                prefilter=True,
                limit=MARGIN * k,
            ).to_table()

    found = _flagged(snapshot, where, k, "_score", -1, ask)
    return _ranked(snapshot, found, "_score", -1.0, k, _names(key))


def search_vector(
    snapshot: Snapshot,
    column: str,
    key: str | Sequence[str],
    query: npt.NDArray[Any],
    k: int,
    where: str | None,
    settings: VectorSettings | None = None,
) -> pa.Table:
    """The ``k`` nearest rows by cosine distance, nearest first: the columns ``key``, `_distance`,
    `_rowid`.

    Exact where the dataset has no vector index, and where ``where`` leaves `EXACT_ROWS` rows or fewer. ``settings`` are
    by default those that the recall of the index was measured with. More partitions are looked at as long as ``where``
    leaves fewer than ``k`` rows of them. Distances of an index are estimated from codes of 8 bits a component.
    """
    settings = settings or search_settings(snapshot, column)

    def ask(where: str | None) -> pa.Table:
        return _nearest(snapshot, column, query, MARGIN * k, where, settings)

    found = ask(where) if settings is None else _flagged(snapshot, where, k, "_distance", 1, ask)
    return _ranked(snapshot, found, "_distance", 1.0, k, _names(key))


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
        with readable_errors(snapshot.uri):
            scanner = snapshot.native.scanner(
                columns=["_distance"], with_row_id=True, nearest=nearest, filter=where, prefilter=True
            )
            return scanner.to_table()

    found = ask()
    if matching is not None and len(found) < min(matching, count) and nearest.pop("maximum_nprobes", None):
        found = ask()
    return found


def _flagged(
    snapshot: Snapshot, where: str | None, k: int, score: str, sign: int, ask: Callable[[str | None], pa.Table]
) -> pa.Table:
    """`ask(where)`; where that is a flag, asked of all rows, if the first ``k`` that have it are among those found."""
    if where is None or where not in snapshot.schema.names or snapshot.count() < FLAGGED_ROWS:
        return ask(where)
    if not pa.types.is_boolean(snapshot.schema.field(where).type):
        return ask(where)
    found = ask(None)
    left = found.filter(read_rows(snapshot, found["_rowid"].to_numpy(), [where])[where])
    values, every = sign * left[score].to_numpy(), sign * found[score].to_numpy()
    enough = len(left) >= k and np.partition(values, k - 1)[k - 1] < every.max()  # at its limit Lance breaks ties
    return left if enough else ask(where)


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
    wanted = _unit(np.atleast_2d(np.asarray(queries, dtype=np.float32)))
    rows = np.zeros((len(wanted), k), np.uint64)
    distances = np.full((len(wanted), k), np.inf, np.float32)
    for batch in snapshot.scan([column], where=where, fragments=fragments, row_ids=True):
        near = (1.0 - wanted @ _unit(vectors(batch[column], copy=False)).T).astype(np.float32)
        here = np.broadcast_to(batch["_rowid"].to_numpy(), near.shape)
        rows, distances = nearest_of(np.hstack([rows, here]), np.hstack([distances, near]), k)
    return rows, distances


def nearest_of(rows: RowIds, distances: npt.NDArray[np.float32], k: int) -> tuple[RowIds, npt.NDArray[np.float32]]:
    """The ``k`` nearest of each line, nearest first, equal distances in the order of their row ids."""
    if rows.shape[1] > 4 * k:
        best = np.argpartition(distances, 2 * k, axis=1)[:, : 2 * k]
        rows, distances = np.take_along_axis(rows, best, 1), np.take_along_axis(distances, best, 1)
    order = np.lexsort((rows, distances), axis=1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def _ranked(snapshot: Snapshot, found: pa.Table, score: str, sign: float, k: int, names: list[str]) -> pa.Table:
    """The best ``k`` rows; ids are looked up only for rows whose scores are equal to another's."""
    rows = found["_rowid"].to_numpy()
    value = sign * found[score].to_numpy()
    order = np.lexsort((rows, value))
    equal = value[order][1:] == value[order][:-1]
    if equal.any() and IDENTITY in snapshot.schema.names:
        tied = order[np.append(equal, False) | np.append(False, equal)]
        ids = read_rows(snapshot, rows[tied], [IDENTITY])[IDENTITY].to_numpy().astype("U64")
        place = np.zeros(len(rows), np.int64)
        place[tied] = np.argsort(np.argsort(ids, kind="stable"))
        order = np.lexsort((rows, place, value))
    order = order[:k]
    best = found.take(pa.array(order))
    best = best.select([score, "_rowid"])
    if not names:
        return best
    facts = read_rows(snapshot, rows[order], names)
    return facts.append_column(best.field(0), best[score]).append_column(best.field(1), best["_rowid"])


def _names(key: str | Sequence[str]) -> list[str]:
    return [key] if isinstance(key, str) and key else list(key)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
    return unit
