"""Parts of the report about the corpus: funnel, drops, lengths, duplicates, rejects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.bank import Bank
from mnemic.funnel import funnel
from mnemic.kept import KEPT
from mnemic.quoting import one_of
from mnemic.report.escape import lines
from mnemic.report.figures import bars, histogram
from mnemic.report.page import ReportPart, folded, in_words, paragraph, table

_LARGEST = 8
_PAIRS = 6
_REJECTS = 100


def funnel_part(bank: Bank) -> ReportPart:
    counts = funnel(bank)
    rows = [(name, float(count), f"{count:,}") for name, count in counts.items()]
    read, originals = counts["documents"], counts["kept"]
    sentence = f"Of {read:,} documents {originals:,} are kept ({_share(originals, read)})."
    return ReportPart(
        "Funnel", paragraph(sentence) + bars(rows, sentence) + table(["stage", "rows"], counts.items(), "as a table")
    )


def drops_part(bank: Bank) -> ReportPart:
    """Documents by source, and by what dropped them."""
    schema = bank.dataset("documents").schema
    columns = ["source", *(name for name in ("duplicate_of", "decision", "perplexity") if name in schema.names)]
    by_cause: dict[str, dict[str, int]] = {}
    sources: dict[str, int] = {}
    for batch in bank.dataset("documents").scan(columns):
        cause = pa.array(["kept"] * len(batch), pa.string())
        if "duplicate_of" in columns:
            cause = pc.if_else(pc.equal(pc.fill_null(batch["duplicate_of"], ""), ""), cause, "duplicate")
        for name in ("perplexity", "decision"):
            if name in columns:
                rule = pc.fill_null(pc.struct_field(batch[name], "rule"), "")
                cause = pc.if_else(pc.equal(rule, ""), cause, pc.binary_join_element_wise(name, rule, ": "))
        rows = pa.table({"source": batch["source"], "cause": cause}).group_by(["source", "cause"], use_threads=False)
        for row in rows.aggregate([([], "count_all")]).to_pylist():
            sources[row["source"]] = sources.get(row["source"], 0) + row["count_all"]
            counts = by_cause.setdefault(row["cause"], {})
            counts[row["source"]] = counts.get(row["source"], 0) + row["count_all"]
    largest = sorted(sources, key=lambda one: (-sources[one], one))[:_LARGEST]
    causes = sorted(by_cause, key=lambda one: (one != "kept", -sum(by_cause[one].values()), one))
    if causes == ["kept"]:
        return ReportPart("Drops", paragraph("No rule and no duplicate dropped a document."))
    rows = [
        [
            source,
            sources[source],
            *(in_words(_share(by_cause[cause].get(source, 0), sources[source])) for cause in causes),
        ]
        for source in largest
    ]
    more = len(sources) - len(largest)
    dropped = sum(sum(by_cause[cause].values()) for cause in causes[1:])
    largest_cause = f"; the most frequent cause: {causes[1]}" if len(causes) > 2 else f", all of them as {causes[1]}s"
    sentence = f"{dropped:,} documents are dropped{largest_cause}."
    return ReportPart(
        "Drops",
        paragraph(sentence)
        + bars([(cause, float(n), f"{n:,}") for cause in causes[1:] if (n := sum(by_cause[cause].values()))], sentence)
        + table(["source", "documents", *causes], rows)
        + (paragraph(f"And {more:,} smaller sources.", quiet=True) if more else ""),
    )


def histograms_part(bank: Bank) -> ReportPart:
    """Lengths of documents and events, similarity of pairs."""
    drawn = [
        ("documents", "length", KEPT, "characters of a kept document"),
        ("events", "words", None, "words of an event or turn"),
        ("pairs", "similarity", None, "similarity of a pair that was compared"),
    ]
    html = ""
    for dataset, column, where, unit in drawn:
        if dataset not in bank.view or column not in bank.dataset(dataset).schema.names:
            continue
        values = bank.view.table(dataset, [column], where)[column].to_numpy().astype(np.float64)
        if not len(values):
            continue
        points = np.quantile(values, [0.0, 0.05, 0.5, 0.95, 1.0]).tolist()
        shown = [f"{point:,.0f}" if points[-1] > 10 else f"{point:.2f}" for point in points]
        sentence = f"{unit.capitalize()}: the median is {shown[2]}, nine of ten lie between {shown[1]} and {shown[3]}."
        html += paragraph(sentence) + histogram(values, unit, sentence)
        heads = ["smallest", "5 %", "median", "95 %", "largest", "rows"]
        html += table(heads, [[*map(in_words, shown), len(values)]], "as a table")
    return ReportPart("Histograms", html)


def duplicates_part(bank: Bank) -> ReportPart:
    """The largest families, and near duplicates side by side."""
    if "pairs" not in bank.view:
        return ReportPart("Duplicates", "")
    pairs = bank.view.table("pairs", ["document", "other", "similarity", "verdict", "rule"])
    if not len(pairs):
        return ReportPart("Duplicates", paragraph("No two documents were alike enough to be compared."))
    verdicts = [(f"{row['verdict']}, {row['rule']}", row["count_all"]) for row in _grouped(pairs, ["verdict", "rule"])]
    sentence = f"{len(pairs):,} pairs of documents were alike enough to be compared or are copies."
    html = paragraph(sentence) + bars([(name, float(count), f"{count:,}") for name, count in verdicts], sentence)
    html += table(["verdict", "pairs"], verdicts, "as a table")
    copies = bank.view.table("documents", ["duplicate_of"], "duplicate_of <> ''")
    families = _grouped(copies, ["duplicate_of"])[:_LARGEST]
    names = {row["id"]: row for row in _documents(bank, [row["duplicate_of"] for row in families], text=False)}
    rows = [
        (names.get(row["duplicate_of"], {}).get("locator", row["duplicate_of"]), row["count_all"]) for row in families
    ]
    html += "<h3>Largest families</h3>" + table(["kept document", "copies of it"], rows) if rows else ""
    near = pairs.filter(pc.not_equal(pairs["rule"], "exact"))
    ascending = near.sort_by([("similarity", "ascending"), ("document", "ascending")])
    descending = near.sort_by([("similarity", "descending"), ("document", "ascending")])
    duplicates = ascending.filter(pc.equal(ascending["verdict"], "duplicate")).slice(0, _PAIRS)
    distinct = descending.filter(pc.equal(descending["verdict"], "distinct")).slice(0, _PAIRS)
    for words, some in (("Least alike that are duplicates", duplicates), ("Most alike that are not", distinct)):
        sides = "".join(_side_by_side(bank, some))
        html += f"<h3>{words}</h3>{sides}" if sides else ""
    return ReportPart("Duplicates", html)


def _side_by_side(bank: Bank, pairs: pa.Table) -> Iterator[str]:
    ids = [*pairs["document"].to_pylist(), *pairs["other"].to_pylist()]
    texts = {row["id"]: row for row in _documents(bank, ids, text=True)}
    for pair in pairs.to_pylist():
        one, other = texts.get(pair["document"]), texts.get(pair["other"])
        if one and other:
            sides = "".join(
                f"<div>{paragraph(row['locator'], quiet=True)}<pre>{lines(row['text'])}</pre></div>"
                for row in (one, other)
            )
            yield folded(f"{pair['similarity']:.3f}  {one['locator']}", f'<div class="pair">{sides}</div>')


def rejects_part(bank: Bank) -> ReportPart:
    """Rejects of the bank's newest state, with their reasons; the first hundred."""
    snapshot = bank.store["rejects"].snapshot()
    if snapshot is None:
        return ReportPart("Rejects", paragraph("Nothing was left out."))
    rows = snapshot.table(["step", "severity", "locator", "reason"], "severity <> 'nothing'")
    if not len(rows):
        return ReportPart("Rejects", paragraph("Nothing was left out."))
    groups = _grouped(rows, ["step", "severity"])
    counted = [
        (f"{row['step']}, {row['severity']}", float(row["count_all"]), f"{row['count_all']:,}") for row in groups
    ]
    first = rows.sort_by([(name, "ascending") for name in ("step", "locator", "reason")]).slice(0, _REJECTS)
    listed = [(row["step"], row["locator"], row["reason"]) for row in first.to_pylist()]
    sentence = f"{len(rows):,} rows were left out or remarked on; they are those of the bank as it is now."
    return ReportPart(
        "Rejects",
        paragraph(sentence)
        + bars(counted, sentence)
        + table(["step", "place", "reason"], listed, f"the first {len(listed):,}"),
    )


def _documents(bank: Bank, ids: list[str], text: bool) -> list[dict[str, Any]]:
    columns = ["id", "locator", "text"] if text else ["id", "locator"]
    if not ids:
        return []
    rows: list[dict[str, Any]] = bank.view.table("documents", columns, one_of("id", sorted(set(ids)))).to_pylist()
    return rows


def _grouped(rows: pa.Table, names: list[str]) -> list[dict[str, Any]]:
    """Distinct values of the columns ``names`` with their ``count_all``, the most frequent first."""
    groups: list[dict[str, Any]] = rows.group_by(names, use_threads=False).aggregate([([], "count_all")]).to_pylist()
    return sorted(groups, key=lambda row: (-row["count_all"], *(str(row[name]) for name in names)))


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"
