"""Nodes of the cluster tree as results, by their excerpts: what the bank has about something, at every width of it.

A node is near to a question by its centroid and by the words of its excerpt; both rankings are fused. Nodes of all
levels stand in one list, as in RAPTOR's collapsed tree (arXiv 2401.18059). A node whose rows are all shown by a better
one is left out. Each row of `node_excerpts` is of one tenant, and a condition may ask for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Floats, Floats32
from mnemic.conditions import Conditions, all_of
from mnemic.dataset.index import built, search_text
from mnemic.errors import QueryError
from mnemic.notes.datasets import NODE_EXCERPTS_SPEC
from mnemic.quoting import one_of
from mnemic.search.answer import Budget
from mnemic.search.buffers import take
from mnemic.search.fusion import fuse, ranks
from mnemic.search.results import Hit
from mnemic.search.route import RouteTree
from mnemic.view import View
from mnemic.words import count_words

NODE = "node"
_SIGNALS = {"similarity": "meaning", "bm25": "words"}


def check_nodes(view: View) -> None:
    """Raise `QueryError` for a release without excerpts of nodes."""
    if NODE_EXCERPTS_SPEC.name not in view:
        raise QueryError(
            f"Release {view.release.name} of {view.path} has no excerpts of nodes. Add `excerpts: {{}}` to its recipe, "
            "where `cluster` runs too, and build again."
        )


def search_nodes(
    view: View,
    tree: RouteTree,
    query: str,
    vector: Floats32,
    conditions: Conditions,
    budget: Budget,
    count: Callable[[str], int] | None,
) -> list[Hit]:
    """The nodes of ``tree`` that answer ``query`` with its ``vector`` [d] within the ``budget``, best first."""
    nodes = view.dataset(NODE_EXCERPTS_SPEC.name)
    where = conditions.sql(nodes.schema, NODE_EXCERPTS_SPEC.name)
    words = search_text(nodes, "text", "id", query, budget.pool, where) if "text" in built(nodes) else None
    cosines = _cosines(tree, vector)
    nearest = [tree.paths[place] for place in np.argsort(-cosines, kind="stable")[: budget.pool].tolist()]
    sought = one_of("path", nearest)
    if words is not None and len(words):
        sought = f"({sought} OR {one_of('id', words['id'].to_pylist())})"
    columns = ["id", "path", "level", "tenant", "text", "events"]
    rows = view.table(NODE_EXCERPTS_SPEC.name, columns, all_of(where, sought)).sort_by("id")
    if not len(rows):
        return []
    place = {path: number for number, path in enumerate(tree.paths)}
    score = {} if words is None else dict(zip(words["id"].to_pylist(), words["_score"].to_pylist(), strict=True))
    signals: dict[str, Floats] = {
        "similarity": np.array([cosines[place[path]] for path in rows["path"].to_pylist()], np.float64),
        "bm25": np.array([score.get(one, np.nan) for one in rows["id"].to_pylist()], np.float64),
    }
    places = {name: ranks(values) for name, values in signals.items()}
    fused = fuse(places.values())
    order = _without_repeats(rows, np.argsort(-fused, kind="stable").tolist())
    texts = rows["text"].to_pylist()
    sizes = [(count or count_words)(texts[row]) for row in order]
    chosen = take(sizes, [()] * len(order), budget.tokens or budget.words, budget.k, fit=budget.fit)
    best = [order[one] for one in sorted(chosen)]
    chosen_rows = rows.take(pa.array(best, pa.int64())).to_pylist()
    named = view.table("clusters", ["path", "label"], one_of("path", sorted({row["path"] for row in chosen_rows})))
    labels = {row["path"]: row["label"] for row in named.to_pylist()}
    return [
        _hit(row, number, labels, float(fused[number]), signals, places)
        for row, number in zip(chosen_rows, best, strict=True)
    ]


def _hit(
    row: dict[str, Any],
    number: int,
    labels: dict[str, str],
    fused: float,
    signals: dict[str, Floats],
    places: dict[str, Floats],
) -> Hit:
    text, path, events = row["text"], row["path"], row["events"]
    scores = {name: None if np.isnan(one[number]) else float(one[number]) for name, one in signals.items()}
    why = [f"{_SIGNALS[name]}: rank {int(one[number])}" for name, one in places.items() if np.isfinite(one[number])]
    return Hit(
        id=row["id"],
        document="",
        source="",
        locator=f"node {path}" if path else "root",
        collection="",
        tenant=row["tenant"],
        session="",
        level=NODE,
        start=0,
        end=0,
        time=None,
        speakers=[],
        turns=[],
        text=text,
        words=count_words(text),
        score=fused,
        similarity=scores["similarity"],
        bm25=scores["bm25"],
        event_bm25=None,
        document_bm25=None,
        reason=", ".join([f"excerpt of {len(events)} rows", *why]),
        metadata={"label": labels.get(path, "")},
        sources=tuple(events),
    )


def _cosines(tree: RouteTree, vector: Floats32) -> Floats:
    """The cosine of ``vector`` [d] to each centroid, float64 [nodes]."""
    centroids = tree.centroids.astype(np.float64)
    lengths = np.linalg.norm(centroids, axis=1) * max(float(np.linalg.norm(vector)), 1e-300)
    cosines: Floats = (centroids @ vector.astype(np.float64)) / np.maximum(lengths, 1e-300)
    return cosines


def _without_repeats(rows: pa.Table, order: list[int]) -> list[int]:
    """``order`` without rows all of whose events stand in better ones of their tenant."""
    shown: dict[str, set[str]] = {}
    tenants, events = rows["tenant"].to_pylist(), rows["events"].to_pylist()
    left = []
    for row in order:
        seen = shown.setdefault(tenants[row], set())
        if not seen.issuperset(events[row]):
            seen.update(events[row])
            left.append(row)
    return left
