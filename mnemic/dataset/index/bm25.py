"""Full-text search: rows by their BM25 score.

A condition is applied before the search (`mnemic.dataset.index.ties`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from mnemic.dataset.failures import reading
from mnemic.dataset.index.ties import MARGIN, best_rows, flagged, names_of
from mnemic.dataset.store import Snapshot
from mnemic.kept import expand


def search_text(
    snapshot: Snapshot, column: str, key: str | Sequence[str], query: str, k: int, where: str | None
) -> pa.Table:
    """The ``k`` rows with the highest BM25 score, best first: the columns ``key``, `_score`, `_rowid`.

    Words are compared as the index has them: lower case, English stems, without stop words; one that they share is
    enough. Numbers of documents and words are those of the whole column, whatever ``where`` leaves of it.
    """

    def ask(where: str | None) -> pa.Table:
        with reading(snapshot.uri, where):
            return snapshot.native.scanner(
                columns=["_score"],
                with_row_id=True,
                full_text_query={"columns": [column], "query": query},
                filter=expand(where, snapshot.schema.names),
                prefilter=True,
                limit=MARGIN * k,
            ).to_table()

    candidates = flagged(snapshot, where, k, "_score", -1, ask)
    return best_rows(snapshot, candidates, "_score", -1.0, k, names_of(key))
