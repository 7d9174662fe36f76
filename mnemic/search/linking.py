"""Rows of a search that links lead to: their scores, and which row stands for a document."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Floats
from mnemic.conditions import all_of
from mnemic.dataset import Snapshot
from mnemic.dataset.index import EXACT_ROWS, read_rows, rows_with, search_among, search_vector
from mnemic.links.follow import UNITS, BestRow, Links
from mnemic.links.hops import HOP, NAMED, SOURCES, Link
from mnemic.quoting import one_of

ROWS_A_DOCUMENT = 4
"""Nearest rows that are looked for of each document that is reached, on average."""

Way = tuple[float, Mapping[str, Link]]
"""The share of the best score that its best link is worth, and links by document."""

Ranges = Mapping[str, Sequence[tuple[int, int]]]
"""Document -> ranges of its units, the best first."""


def raised(owners: Sequence[str], scores: Floats, *ways: Way) -> Floats:
    """``scores`` float64 [n] of rows of documents ``owners`` [n], and a share of the best for each link to them."""
    top = float(scores.max(initial=0.0)) or 1.0
    shares = [sum(share * links[owner].weight for share, links in ways if owner in links) for owner in owners]
    return scores + top * np.array(shares, np.float64)


def reasons_of(*ways: Way) -> dict[str, str]:
    """Document -> why it was reached: the reason of the first of ``ways`` by which it was."""
    return {document: link.reason for _, links in reversed(ways) for document, link in links.items()}


def sources(facts: pa.Table, scores: Floats, parts: Ranges) -> list[BestRow]:
    """The best rows of ``facts`` by ``scores`` float64 [n]; of a long one its ``parts``."""
    least = np.partition(scores, -SOURCES)[-SOURCES] if len(scores) > SOURCES else -np.inf
    near = np.flatnonzero(scores >= least)
    ids = facts["id"].take(pa.array(near)).to_numpy()
    best = near[np.lexsort((ids, -scores[near]))[:SOURCES]]
    top = float(scores[best[0]]) or 1.0
    rows = facts.select(["document", "first_unit", "end_unit"]).take(pa.array(best)).to_pylist()
    chosen = []
    for row, score in zip(rows, scores[best].tolist(), strict=True):
        first, end = row["first_unit"], row["end_unit"]
        inside = [one for one in parts.get(row["document"], ()) if first <= one[0] < end]
        chosen.append(
            BestRow(row["document"], score / top, inside if end - first > UNITS and inside else [(first, end)])
        )
    return chosen


def follow(
    events: Snapshot,
    links: Links,
    query: str,
    vector: npt.NDArray[np.float32],
    facts: pa.Table,
    scores: Floats,
    rows: str | None,
) -> tuple[pa.Table, Floats, dict[str, str]]:
    """``facts`` of rows smaller than documents, with those that links lead to; the scores of all; and reasons by id.

    ``scores`` float64 [n] are of the search. A document that is reached is represented by that of its rows, of those
    that satisfy ``rows``, which is nearest to ``vector`` [d].
    """
    owners = facts["document"].to_pylist()
    named = links.named(query, owners)
    by_name = raised(owners, scores, (NAMED, named))
    linked = links.linked(query, unit_vector(vector), sources(facts, by_name, {}))
    reached = named.keys() | linked.keys()
    if not reached:
        return facts, scores, {}
    best = _nearest_rows(events, vector, rows, reached)
    numbers = np.array(sorted(set(best.values()) - set(facts["_rowid"].to_pylist())), np.uint64)
    names = [name for name in facts.schema.names if name != "_rowid"]
    others = read_rows(events, numbers, names).append_column("_rowid", pa.array(numbers))
    facts = pa.concat_tables([facts, others.select(facts.schema.names)])
    representative = {number: document for document, number in best.items()}
    standing = [representative.get(number, "") for number in facts["_rowid"].to_pylist()]
    ways = ((NAMED, named), (HOP, linked))
    reasons = reasons_of(*ways)
    why = {
        identity: reasons[document]
        for identity, document in zip(facts["id"].to_pylist(), standing, strict=True)
        if document
    }
    return facts, raised(standing, np.append(scores, np.zeros(len(others))), *ways), why


def _nearest_rows(
    events: Snapshot, vector: npt.NDArray[np.float32], rows: str | None, documents: Collection[str]
) -> dict[str, int]:
    """Document -> row id of its row nearest to ``vector`` [d], of those that satisfy ``rows``."""
    count, numbers = ROWS_A_DOCUMENT * len(documents), rows_with(events, "document", documents, rows)
    if len(numbers) <= EXACT_ROWS:
        nearest = search_among(events, "vector", "document", vector, count, numbers)
    else:
        within = all_of(rows, one_of("document", sorted(documents)))
        nearest = search_vector(events, "vector", "document", vector, count, within)
    best: dict[str, int] = {}
    for document, number in zip(nearest["document"].to_pylist(), nearest["_rowid"].to_pylist(), strict=True):
        best.setdefault(document, number)
    return best


def unit_vector(vector: npt.NDArray[np.float32]) -> Floats:
    """``vector`` [d] with length 1, float64; one of zeros stays."""
    exact = vector.astype(np.float64)
    return exact / max(float(np.linalg.norm(exact)), 1e-300)
