"""Parts of the report about what was made of the corpus: events, clusters, recall, memories."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from mnemic.bank import Bank
from mnemic.conditions.values import text
from mnemic.quoting import one_of
from mnemic.report.escape import escaped
from mnemic.report.figures import Point, bars, curves, stems
from mnemic.report.page import ReportPart, folded, in_words, paragraph, table

_EVENTS = 60
_EXAMPLES = 400
_CAUSES = {
    "start": "the document begins",
    "topic": "the topic turns",
    "length": "a length limit",
    "pause": "a pause",
    "speaker": "another speaker",
    "turn": "a turn",
    "block": "a block of fixed length",
}


def events_part(bank: Bank) -> ReportPart:
    """Why events begin, and one document cut: scores at its cuts, and the events themselves."""
    if "events" not in bank.view:
        return ReportPart("Events", "")
    schema = bank.dataset("events").schema
    whole = "level = 'event'" if "level" in schema.names else None
    columns = [name for name in ("document", "cause", "words") if name in schema.names]
    rows = bank.view.table("events", columns, whole)
    if not len(rows):
        return ReportPart("Events", "")
    html = ""
    if "cause" in columns:
        counts = sorted(rows["cause"].value_counts().to_pylist(), key=lambda one: -one["counts"])
        named = [(_CAUSES.get(str(one["values"]), str(one["values"])), one["counts"]) for one in counts]
        sentence = f"{len(rows):,} events; most begin because {named[0][0]}."
        html += paragraph(sentence) + bars([(name, float(count), f"{count:,}") for name, count in named], sentence)
        html += table(["an event begins because", "events"], named, "as a table")
    counts_of = rows.group_by("document", use_threads=False).aggregate([("words", "count")]).to_pylist()
    chosen = min(counts_of, key=lambda row: (abs(row["words_count"] - _EVENTS // 2), row["document"]))["document"]
    return ReportPart("Events", html + _document(bank, chosen, whole))


def _document(bank: Bank, document: str, whole: str | None) -> str:
    names = ("id", "ordinal", "start", "end", "words", "cause", "score", "threshold", "text", "start_time")
    columns = [name for name in names if name in bank.dataset("events").schema.names]
    where = f"document = {text(document)}" + (f" AND {whole}" if whole else "")
    rows = sorted(bank.view.table("events", columns, where).to_pylist(), key=lambda row: row["ordinal"])[:_EVENTS]
    [place] = bank.view.table("documents", ["locator"], f"id = {text(document)}")["locator"].to_pylist()
    html = f"<h3>How one document is cut</h3>{paragraph(place, quiet=True)}"
    scored = [row for row in rows if row.get("score") is not None]
    if len(scored) > 1:
        method = bank.release.lineage.get("segment", {}).get("fields", {}).get("method", "the segmenter")
        bounds = {row["threshold"] for row in scored}
        threshold = bounds.pop() if len(bounds) == 1 else None
        dashed = "" if threshold is None else " The dashed line is the threshold."
        sentence = (
            f"The document's cuts with their scores ({method}), by the character at which an event begins.{dashed}"
        )
        points = [(float(row["start"]), float(row["score"])) for row in scored]
        html += paragraph(sentence) + stems(points, float(rows[-1]["end"]), "character", sentence, threshold)
    listed = [
        (
            row["ordinal"] + 1,
            row["start"],
            row["words"],
            _CAUSES.get(str(row.get("cause")), ""),
            _score(row),
            row["text"][:160],
        )
        for row in rows
    ]
    return html + table(
        ["event", "character", "words", "begins because", "score", "text"], listed, f"its {len(listed)} events"
    )


def _score(row: dict[str, Any]) -> str:
    return in_words("" if row.get("score") is None else f"{row['score']:.3f}")


def clusters_part(bank: Bank) -> ReportPart:
    """The tree, to be opened level by level."""
    if "clusters" not in bank.view or "events" not in bank.view:
        return ReportPart("Clusters", "")
    columns = ["path", "level", "parent", "size", "radius", "label", "examples"]
    rows = sorted(
        bank.view.table("clusters", columns).to_pylist(), key=lambda row: (row["level"], -row["size"], row["path"])
    )
    below: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["level"]:
            below.setdefault(row["parent"], []).append(row)
    leaves = [row for row in rows if row["path"] not in below and row["level"]]
    if not rows or not leaves:
        return ReportPart("Clusters", "")
    shown = leaves[:: max(1, len(leaves) * 3 // _EXAMPLES)] if len(leaves) * 3 > _EXAMPLES else leaves
    ids = sorted({one for row in shown for one in row["examples"][:3]})
    texts = (
        {row["id"]: row["text"] for row in bank.view.table("events", ["id", "text"], one_of("id", ids)).to_pylist()}
        if ids
        else {}
    )
    top = [row for row in rows if row["level"] == 1]
    sentence = f"{len(leaves):,} leaves under {len(top):,} branches; the largest branch has {top[0]['size']:,} rows."
    drawn = [(row["label"], float(row["size"]), f"{row['size']:,}") for row in top[:24]]

    def branch(row: dict[str, Any]) -> str:
        inside = "".join(branch(one) for one in below.get(row["path"], ()))
        if not inside:
            inside = "".join(f"<pre>{escaped(texts[one], 240)}</pre>" for one in row["examples"][:3] if one in texts)
        return folded(
            f"{row['label'] or row['path']}  ({row['size']:,} rows, radius {row['radius']:.2f})", inside or "<p></p>"
        )

    tree = "".join(map(branch, top))
    return ReportPart("Clusters", paragraph(sentence) + bars(drawn, sentence) + f"<h3>The tree</h3>{tree}")


def recall_part(bank: Bank) -> ReportPart:
    """Recall of the indexes of vectors, as the release measured it."""
    indexes = bank.release.lineage.get("release", {}).get("indexes", {})
    rows = [
        (name, index.get("kind", ""), index.get("rows", 0), in_words(f"{index['recall_at_10']:.3f}"))
        for name, index in indexes.items()
        if isinstance(index.get("recall_at_10"), int | float)
    ]
    if not rows:
        return ReportPart("Recall", "")
    words = (
        "The ten nearest rows, of ten by exact search. `mnemic eval --questions FILE` measures answers to questions."
    )
    return ReportPart("Recall", paragraph(words) + table(["vectors", "index", "rows", "recall at 10"], rows))


def memories_part(bank: Bank) -> ReportPart:
    """Each memory with its numbers and the curves of its training."""
    html = ""
    infos = bank.memories()
    history = (
        bank.view.table("metrics", ["memory", "state", "step", "metric", "value"]) if "metrics" in bank.view else None
    )
    for info in infos:
        html += f"<h3>{escaped(info.name, 80)}</h3>"
        base, own = info.metrics.get("validation_base_perplexity"), info.metrics.get("validation_perplexity")
        if base and own:
            sentence = f"Perplexity on validation text: {own:.2f} with it, {base:.2f} without ({own / base:.3f} times)."
            html += paragraph(sentence) + bars(
                [("without", base, f"{base:.2f}"), ("with it", own, f"{own:.2f}")], sentence
            )
        if history is not None:
            html += _history(history.filter(pc.equal(history["memory"], info.name)))
        facts = [*info.metrics.items(), *((name, value) for name, value in info.config.items())]
        html += table(["name", "value"], [(name, _value(value)) for name, value in facts], "its numbers")
    if "gates" in bank.view:
        rows = bank.view.table("gates", ["name"])["name"].to_pylist()
        html += paragraph(f"Weighed together by gates: {', '.join(sorted(rows))}.", quiet=True)
    return ReportPart("Memories", html)


def _history(rows: Any) -> str:
    """Curves of training, and of what was measured on validation text."""
    html = ""
    for prefix, words in (("train_", "training"), ("validation_", "validation text")):
        series: dict[str, list[Point]] = {}
        for row in rows.to_pylist():
            if row["metric"].startswith(prefix) and np.isfinite(row["value"]) and "perplexity" not in row["metric"]:
                series.setdefault(row["metric"].removeprefix(prefix).replace("_", " "), []).append(
                    (row["step"], row["value"])
                )
        series = {name: sorted(points) for name, points in series.items() if len(points) > 1}
        if series:
            sentence = f"Losses on {words}, in nats a token, by step."
            html += paragraph(sentence, quiet=True) + curves(dict(list(series.items())[:4]), "step", sentence)
            ends = [
                (name, in_words(f"{line[0][1]:.3f}"), in_words(f"{line[-1][1]:.3f}")) for name, line in series.items()
            ]
            html += table(["loss", "first", "last"], ends, "as a table")
    return html


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
