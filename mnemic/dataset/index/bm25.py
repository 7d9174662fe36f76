"""Full-text search: rows by their BM25 score.

Chinese, Japanese, Thai and their like are written without spaces. A tokenizer that cuts at spaces and punctuation makes
one word of a whole sentence there, and only who knows all of it finds it. So an index over a column that holds such
text cuts it by the dictionaries of ICU, and other text at spaces and punctuation as ever: of 17,505 pieces of English
documentation the index was 1 % smaller, and 300 queries took no longer. An index keeps the tokenizer that it was made
with, and a query to it is cut by the same. Other columns have the tokenizer that they always had.

A condition is applied before the search (`mnemic.dataset.index.ties`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mnemic.dataset.failures import reading
from mnemic.dataset.index.satisfying import HeldConditions
from mnemic.dataset.index.ties import MARGIN, best_rows, flagged, names_of
from mnemic.dataset.snapshot import Snapshot
from mnemic.kept import expand

SPACED, UNSPACED = "simple", "icu/split"
"""Lance's names of the tokenizers: for columns of spaced text alone, and for the others."""

SPARE = 2
"""One look at the index for several conditions gives so many times the rows that are likely to be needed."""

_WITHOUT_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


def tokenizer(snapshot: Snapshot, column: str, fragments: Sequence[int] | None = None) -> str:
    """The tokenizer for an index of ``column``, by the text of ``fragments`` (None: all), read until it is certain."""
    unspaced = f"regexp_like({column}, '{_WITHOUT_SPACES}')"
    rows = snapshot.scan([], unspaced, None if fragments is None else list(fragments), row_ids=True)
    return UNSPACED if any(len(batch) for batch in rows) else SPACED


def search_text(
    snapshot: Snapshot, column: str, key: str | Sequence[str], query: str, k: int, where: str | None
) -> pa.Table:
    """The ``k`` rows with the highest BM25 score, best first: the columns ``key``, `_score`, `_rowid`.

    Words are compared as the index has them: cut by its tokenizer, in lower case, as English stems, without stop words;
    one that they share is enough. Numbers of documents and words are those of the whole column, whatever ``where``
    leaves of it.
    """
    ask = functools.partial(_found, snapshot, column, query, MARGIN * k)
    candidates = flagged(snapshot, where, k, "_score", -1, ask)
    return best_rows(snapshot, candidates, "_score", -1.0, k, names_of(key))


def search_text_under(
    snapshot: Snapshot, column: str, key: str | Sequence[str], query: str, k: int, conditions: HeldConditions
) -> dict[str, pa.Table]:
    """As `search_text` under each of the ``conditions``, with one look at the index, by condition."""
    limit = SPARE * k * conditions.total // conditions.fewest
    candidates = _found(snapshot, column, query, limit, None)
    numbers, scores = candidates["_rowid"].to_numpy(), candidates["_score"].to_numpy()
    last = scores.min() if len(scores) >= limit else -np.inf  # rows of this score are missing where Lance ended
    tables = {}
    for where, rows in conditions.rows.items():
        places = np.minimum(np.searchsorted(rows, numbers), len(rows) - 1)
        there = np.flatnonzero(rows[places] == numbers)
        least = np.partition(scores[there], -k)[-k] if len(there) >= k else -np.inf
        if last == -np.inf or least > last:
            chosen = candidates.take(pa.array(there[scores[there] >= least]))
            tables[where] = best_rows(snapshot, chosen, "_score", -1.0, k, names_of(key))
        else:
            tables[where] = search_text(snapshot, column, key, query, k, where)
    return tables


def _found(snapshot: Snapshot, column: str, query: str, limit: int, where: str | None) -> pa.Table:
    with reading(snapshot.uri, where):
        return snapshot.native.scanner(
            columns=["_score"],
            with_row_id=True,
            full_text_query={"columns": [column], "query": query},
            filter=expand(where, snapshot.schema.names),
            prefilter=True,
            limit=limit,
        ).to_table()
