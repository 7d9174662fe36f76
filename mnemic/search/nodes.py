"""Nodes of the cluster tree as results: what the bank has about something, at every width of it.

A node is near to a question by its centroid, by the words of its excerpt, and by those of the summary that a language
model wrote of it, where there is one; the rankings are fused. Its text is the summary, else the excerpt. Nodes of all
levels stand in one list, as in RAPTOR's collapsed tree (arXiv 2401.18059). A node whose rows are all shown by a better
one is left out. Each row of `node_excerpts` and `node_summaries` is of one tenant, and a condition may ask for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Floats, Floats32
from mnemic.conditions import Conditions, all_of
from mnemic.dataset import Snapshot
from mnemic.dataset.index import built, search_text
from mnemic.errors import QueryError
from mnemic.notes.datasets import NODE_EXCERPTS_SPEC, NODE_SUMMARIES_SPEC
from mnemic.quoting import one_of
from mnemic.search.answer import Budget
from mnemic.search.buffers import take
from mnemic.search.fusion import fuse, ranks
from mnemic.search.results import Hit
from mnemic.search.route import RouteTree
from mnemic.view import View
from mnemic.words import count_words

NODE = "node"
_SIGNALS = {"similarity": "meaning", "bm25": "words", "summary": "words of its summary"}


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
    words = _worded(nodes, query, budget.pool, where)
    summaries = view.dataset(NODE_SUMMARIES_SPEC.name) if NODE_SUMMARIES_SPEC.name in view else None
    summed_up = None
    if summaries is not None:
        summed_up = _worded(summaries, query, budget.pool, conditions.sql(summaries.schema, NODE_SUMMARIES_SPEC.name))
    cosines = _cosines(tree, vector)
    nearest = [tree.paths[place] for place in np.argsort(-cosines, kind="stable")[: budget.pool].tolist()]
    sought = one_of("path", sorted({*nearest, *([] if summed_up is None else summed_up["path"].to_pylist())}))
    if words is not None and len(words):
        sought = f"({sought} OR {one_of('id', words['id'].to_pylist())})"
    columns = ["id", "path", "level", "tenant", "text", "events"]
    rows = view.table(NODE_EXCERPTS_SPEC.name, columns, all_of(where, sought)).sort_by("id").to_pylist()
    if not rows:
        return []
    place = {path: number for number, path in enumerate(tree.paths)}
    signals: dict[str, Floats] = {
        "similarity": np.array([cosines[place[row["path"]]] for row in rows], np.float64),
        "bm25": _scores(rows, words, "id"),
    }
    if summed_up is not None:
        signals["summary"] = _scores(rows, summed_up, "path", "tenant")
    places = {name: ranks(values) for name, values in signals.items()}
    fused = fuse(places.values())
    order = _without_repeats(rows, np.argsort(-fused, kind="stable").tolist())
    if summaries is not None:
        rows = _with_summaries(view, rows)
    sizes = [(count or count_words)(rows[row]["text"]) for row in order]
    chosen = take(sizes, [()] * len(order), budget.tokens or budget.words, budget.k, fit=budget.fit)
    best = [order[one] for one in sorted(chosen)]
    named = view.table("clusters", ["path", "label"], one_of("path", sorted({rows[row]["path"] for row in best})))
    labels = {row["path"]: row["label"] for row in named.to_pylist()}
    return [_hit(rows[number], number, labels, float(fused[number]), signals, places) for number in best]


def _worded(nodes: Snapshot, query: str, pool: int, where: str | None) -> pa.Table | None:
    """The rows with most words of ``query``, with id, path, tenant and score; None where no words are indexed."""
    if "text" not in built(nodes):
        return None
    return search_text(nodes, "text", ("id", "path", "tenant"), query, pool, where)


def _scores(rows: Sequence[Mapping[str, Any]], words: pa.Table | None, *key: str) -> Floats:
    """The scores of ``words`` for ``rows`` with the same ``key``, float64 [rows]; NaN for the others."""
    score = {} if words is None else {tuple(row[name] for name in key): row["_score"] for row in words.to_pylist()}
    return np.array([score.get(tuple(row[name] for name in key), np.nan) for row in rows], np.float64)


def _with_summaries(view: View, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """``rows``, with text, events and writer of their summaries, where there are some."""
    columns = ["path", "tenant", "text", "events", "writer"]
    keys = [one_of(name, sorted({row[name] for row in rows})) for name in ("path", "tenant")]
    summaries = view.table(NODE_SUMMARIES_SPEC.name, columns, all_of(*keys)).to_pylist()
    by_node = {(row["path"], row["tenant"]): row for row in summaries}
    return [{**row, **by_node.get((row["path"], row["tenant"]), {})} for row in rows]


def _hit(
    row: dict[str, Any],
    number: int,
    labels: dict[str, str],
    fused: float,
    signals: dict[str, Floats],
    places: dict[str, Floats],
) -> Hit:
    text, path, events, writer = row["text"], row["path"], row["events"], row.get("writer", "")
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
        reason=", ".join([f"{f'summary by {writer}' if writer else 'excerpt'} of {len(events)} rows", *why]),
        metadata={"label": labels.get(path, "")},
        sources=tuple(events),
        writer=writer,
    )


def _cosines(tree: RouteTree, vector: Floats32) -> Floats:
    """The cosine of ``vector`` [d] to each centroid, float64 [nodes]."""
    centroids = tree.centroids.astype(np.float64)
    lengths = np.linalg.norm(centroids, axis=1) * max(float(np.linalg.norm(vector)), 1e-300)
    cosines: Floats = (centroids @ vector.astype(np.float64)) / np.maximum(lengths, 1e-300)
    return cosines


def _without_repeats(rows: Sequence[Mapping[str, Any]], order: list[int]) -> list[int]:
    """``order`` without rows all of whose events stand in better ones of their tenant."""
    shown: dict[str, set[str]] = {}
    left = []
    for row in order:
        events = rows[row]["events"]
        seen = shown.setdefault(rows[row]["tenant"], set())
        if not seen.issuperset(events):
            seen.update(events)
            left.append(row)
    return left
