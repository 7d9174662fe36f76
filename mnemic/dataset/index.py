"""Full-text (BM25) and vector search over one dataset, with prefilters.

Below ``VECTOR_INDEX_ROWS`` rows a vector query reads every vector: exact, and a few milliseconds. Above, IVF_HNSW_SQ
(recall@10 .988 at 10 ms on 250,000 rows of 384 components; under a selective prefilter it keeps 1.0 where IVF_PQ falls
to .835).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.dataset.failures import readable_errors
from mnemic.dataset.store import Dataset, Snapshot

VECTOR_INDEX_ROWS = 50_000
ROWS_PER_PARTITION = 16_384
MARGIN = 2
"""Rows asked of Lance for each one wanted: it breaks ties at its limit as it likes, so they are broken after it."""


def unindexed_rows(snapshot: Snapshot, column: str) -> int:
    """Rows that the index on ``column`` does not cover; all rows when there is no index."""
    dataset = snapshot.native
    with readable_errors(snapshot.uri):
        for index in dataset.describe_indices():
            if index.field_names == [column]:
                return int(dataset.stats.index_stats(index.name)["num_unindexed_rows"])
    return snapshot.count()


def needs_indexing(snapshot: Snapshot, text: str, vector: str) -> bool:
    """Whether rows are missing from the full-text index, or from the vector index of a large dataset."""
    if unindexed_rows(snapshot, text):
        return True
    return snapshot.count() >= VECTOR_INDEX_ROWS and bool(unindexed_rows(snapshot, vector))


def build_indexes(dataset: Dataset, text: str, vector: str) -> None:
    """Build the indexes that are missing and bring the others up to date."""
    with readable_errors(dataset.uri):
        native = dataset.require().native
        indexed = {name for index in native.describe_indices() for name in index.field_names}
        if text not in indexed:
            native.create_scalar_index(text, "INVERTED", with_position=False)
        if vector not in indexed and native.count_rows() >= VECTOR_INDEX_ROWS:
            partitions = max(1, native.count_rows() // ROWS_PER_PARTITION)
            native.create_index(vector, "IVF_HNSW_SQ", metric="cosine", num_partitions=partitions)
        dataset.require().native.optimize.optimize_indices()


def search_text(snapshot: Snapshot, column: str, key: str, query: str, k: int, where: str | None) -> pa.Table:
    """The ``k`` rows with the highest BM25 score: columns ``key``, `_score`; equal scores in order of the key."""
    scanner = snapshot.native.scanner(
        columns=[key, "_score"],
        full_text_query={"columns": [column], "query": query},
        filter=where,
        prefilter=True,
        limit=MARGIN * k,
    )
    with readable_errors(snapshot.uri):
        found = scanner.to_table()
    return found.sort_by([("_score", "descending"), (key, "ascending")]).slice(0, k)


def search_vector(
    snapshot: Snapshot, column: str, key: str, query: np.ndarray[Any, Any], k: int, where: str | None
) -> pa.Table:
    """The ``k`` nearest rows by cosine distance: columns ``key``, `_distance`; equal distances in order of the key."""
    scanner = snapshot.native.scanner(
        columns=[key, "_distance"],
        nearest={
            "column": column,
            "q": np.asarray(query, dtype=np.float32),
            "k": MARGIN * k,
            "metric": "cosine",
            "nprobes": 20,
            "refine_factor": 2,
        },
        filter=where,
        prefilter=True,
    )
    with readable_errors(snapshot.uri):
        found = scanner.to_table()
    return found.sort_by([("_distance", "ascending"), (key, "ascending")]).slice(0, k)
