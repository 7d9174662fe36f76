"""Artifacts about the bank that a build made: rejects, curves of training, clusters, recall, and where its report is.

Tables hold places, reasons and numbers, and the words that clusters are called by; no other text of a corpus. All of it
is escaped: Prefect renders Markdown in tables.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_table_artifact

from flows.markdown import escaped, key
from mnemic.bank import Bank
from mnemic.errors import MnemicError
from mnemic.facts import consistent
from mnemic.report import report
from mnemic.suffixes.mapped import cache_folder
from mnemic.whole_file import whole_file

REJECTS = 100
"""Rejects that are listed; `mnemic show --failures` has them all."""

CLUSTERS = 50
ROWS_OF_CURVES = 200

Row = dict[str, str]


def show_bank(bank: Bank, recipe: str) -> None:
    """Write a table for each of rejects, curves, clusters and recall that the bank has, and its report beside it."""
    for name, sentence, rows in tables(bank):
        if rows:
            create_table_artifact(rows, key(name, recipe), sentence)
    _show_report(bank, recipe)


def tables(bank: Bank) -> Iterator[tuple[str, str, list[Row]]]:
    """(name, sentence, rows) of each table; no rows where there is nothing to tell."""
    with consistent("The facts", bank.path):
        yield _rejects(bank)
        yield _curves(bank)
        yield _clusters(bank)
        yield _recall(bank)


def _rejects(bank: Bank) -> tuple[str, str, list[Row]]:
    snapshot = bank.store["rejects"].snapshot()
    if snapshot is None:
        return "rejects", "", []
    columns = ["step", "severity", "locator", "reason"]
    table = snapshot.table(columns, "severity <> 'nothing'").sort_by([(name, "ascending") for name in columns])
    rows = [{name: escaped(row[name]) for name in columns} for row in table.slice(0, REJECTS).to_pylist()]
    more = f"; the first {REJECTS} of them" if len(table) > REJECTS else ""
    return "rejects", f"{len(table):,} inputs were left out or remarked on{more}: {escaped(bank.path)}", rows


def _curves(bank: Bank) -> tuple[str, str, list[Row]]:
    if "metrics" not in bank.view:
        return "curves", "", []
    columns = ["memory", "metric", "step", "value"]
    order = [(name, "ascending") for name in ("memory", "metric", "step")]
    points = bank.view.table("metrics", columns).sort_by(order).to_pylist()
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for point in points:
        series.setdefault((point["memory"], point["metric"]), []).append(point)
    rows = []
    for (memory, metric), curve in list(series.items())[:ROWS_OF_CURVES]:
        best = min(curve, key=lambda point: point["value"])
        rows.append(
            {
                "memory": escaped(memory),
                "metric": escaped(metric),
                "points": f"{len(curve):,}",
                "first": f"{curve[0]['value']:.4g}",
                "last": f"{curve[-1]['value']:.4g}",
                "least": f"{best['value']:.4g} at {best['step']:,}",
                "curve": sparkline([point["value"] for point in curve]),
            }
        )
    return "curves", f"what was measured while memories were trained: {escaped(bank.path)}", rows


def sparkline(values: list[float], width: int = 24) -> str:
    """A curve as a line of blocks, each a mean of its part; values that are no number are left out."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    count = min(width, len(finite))
    bounds = [len(finite) * number // count for number in range(count + 1)]
    means = [sum(finite[begin:end]) / (end - begin) for begin, end in itertools.pairwise(bounds)]
    low, high = min(means), max(means)
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (mean - low) / (high - low)) if high > low else 0] for mean in means)


def _clusters(bank: Bank) -> tuple[str, str, list[Row]]:
    if "clusters" not in bank.view:
        return "clusters", "", []
    nodes = bank.view.table("clusters", ["label", "size", "level"], "level = 1").to_pylist()
    largest = sorted(nodes, key=lambda node: (-node["size"], node["label"]))[:CLUSTERS]
    rows = [{"events": f"{node['size']:,}", "cluster": escaped(node["label"])} for node in largest]
    return "clusters", f"the largest branches of the tree of clusters: {escaped(bank.path)}", rows


def _recall(bank: Bank) -> tuple[str, str, list[Row]]:
    indexes = bank.release.lineage.get("release", {}).get("indexes", {})
    rows = [
        {
            "column": escaped(column),
            "index": escaped(str(index.get("kind", ""))),
            "rows": f"{index.get('rows', 0):,}",
            "recall of the ten nearest": f"{index['recall_at_10']:.3f}" if "recall_at_10" in index else "exact",
        }
        for column, index in indexes.items()
    ]
    return "recall", f"how much of exact search the indexes find: {escaped(bank.path)}", rows


def _show_report(bank: Bank, recipe: str) -> None:
    """Write the report beside the bank, and a link to it, which a browser on the worker's machine can follow."""
    target = cache_folder(bank.path) / "report.html"
    try:
        content = report(bank)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial:
            partial.write_text(content, encoding="utf-8")
    except (MnemicError, OSError) as error:
        get_run_logger().warning("The report cannot be written: %s", error)
        return
    words = f"one page about release {escaped(bank.release.name)}, on the worker's machine: {escaped(str(target))}"
    create_link_artifact(Path(target).as_uri(), "report", key("report", recipe), words)
