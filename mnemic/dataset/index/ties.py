"""Common to text and vector search: conditions before the search, and equal scores in the order of ids.

Only rows that satisfy a condition are ranked. (Exception: the name of a flag that most rows have, as the leaves among
events do, is looked at in the rows found. That costs less than a mask over all rows, which adds half to a search of a
million, and gives the same as long as enough of them have it.)

Rows are named by Lance's `_rowid`, because a condition such as `id IN (...)` reads the column of ids. Lance breaks ties
as it likes at its limit, so `MARGIN` times as many rows are asked of it, and equal scores are put in the order of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from mnemic.dataset.index.rows import read_rows
from mnemic.dataset.snapshot import Snapshot

MARGIN = 2
"""Rows asked of Lance for each one wanted."""

FLAGGED_ROWS = 50_000
"""Rows from which a flag is looked at after the search."""

IDENTITY = "id"


def flagged(
    snapshot: Snapshot, where: str | None, k: int, score: str, sign: int, ask: Callable[[str | None], pa.Table]
) -> pa.Table:
    """`ask(where)`; where that is a flag, asked of all rows, if the first ``k`` that have it are among those found."""
    if where is None or where not in snapshot.schema.names or snapshot.count() < FLAGGED_ROWS:
        return ask(where)
    if not pa.types.is_boolean(snapshot.schema.field(where).type):
        return ask(where)
    candidates = ask(None)
    having = candidates.filter(read_rows(snapshot, candidates["_rowid"].to_numpy(), [where])[where])
    values, every = sign * having[score].to_numpy(), sign * candidates[score].to_numpy()
    enough = len(having) >= k and np.partition(values, k - 1)[k - 1] < every.max()  # at its limit Lance breaks ties
    return having if enough else ask(where)


def best_rows(snapshot: Snapshot, candidates: pa.Table, score: str, sign: float, k: int, names: list[str]) -> pa.Table:
    """The best ``k`` rows; ids are looked up only for rows whose scores are equal to another's."""
    rows = candidates["_rowid"].to_numpy()
    value = sign * candidates[score].to_numpy()
    order = np.lexsort((rows, value))
    equal = value[order][1:] == value[order][:-1]
    if equal.any() and IDENTITY in snapshot.schema.names:
        tied = order[np.append(equal, False) | np.append(False, equal)]
        ids = read_rows(snapshot, rows[tied], [IDENTITY])[IDENTITY].to_numpy().astype("U64")
        place = np.zeros(len(rows), np.int64)
        place[tied] = np.argsort(np.argsort(ids, kind="stable"))
        order = np.lexsort((rows, place, value))
    order = order[:k]
    best = candidates.take(pa.array(order))
    best = best.select([score, "_rowid"])
    if not names:
        return best
    facts = read_rows(snapshot, rows[order], names)
    return facts.append_column(best.field(0), best[score]).append_column(best.field(1), best["_rowid"])


def names_of(key: str | Sequence[str]) -> list[str]:
    """The columns that a search returns, named by one name or several."""
    return [key] if isinstance(key, str) and key else list(key)
