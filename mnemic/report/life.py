"""Parts of the report about the bank itself: time and bytes of its steps, lineage, releases, another release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnemic.bank import Bank
from mnemic.difference import diff
from mnemic.report.figures import Point, bars, curves, graph
from mnemic.report.page import ReportPart, in_words, paragraph, table

_STEPS = 14
_LINES = 40


def costs_part(bank: Bank) -> ReportPart:
    """Seconds of each step when it last ran for this release, and bytes of each dataset."""
    lineage = bank.release.lineage
    ran = [(name, record) for name, record in lineage.items() if isinstance(record.get("seconds"), int | float)]
    timed = sorted(ran, key=lambda item: -item[1]["seconds"])
    html = ""
    if timed:
        total = sum(record["seconds"] for _, record in timed)
        name, record = timed[0]
        sentence = f"{total:,.0f} s in all; the longest step is {name} with {record['seconds']:,.0f} s."
        drawn = [(name, record["seconds"], f"{record['seconds']:,.1f} s") for name, record in timed[:_STEPS]]
        html += paragraph(sentence) + bars(drawn, sentence)
        rows = [(name, in_words(f"{one['seconds']:,.1f}"), _rows(one), _pace(one)) for name, one in timed]
        html += table(["step", "seconds", "rows", "rows a second"], rows, "as a table")
    sizes = sorted(((bank.dataset(name).data_bytes, name) for name in bank.release.versions), reverse=True)
    total_bytes = sum(size for size, _ in sizes)
    if total_bytes:
        sentence = f"{_megabytes(total_bytes)} of data without indexes and older versions, most of it {sizes[0][1]}."
        drawn = [(name, float(size), _megabytes(size)) for size, name in sizes[:_STEPS]]
        html += paragraph(sentence) + bars(drawn, sentence)
        sized = [(name, bank.release.counts[name], in_words(_megabytes(size))) for size, name in sizes]
        html += table(["dataset", "rows", "size"], sized, "as a table")
    return ReportPart("Time and bytes", html)


def lineage_part(bank: Bank) -> ReportPart:
    lineage = bank.release.lineage
    reads = {name: [one for one in record["reads"] if one in lineage] for name, record in lineage.items()}
    sentence = "Each step with what it reads. A fingerprint changes with settings, versions and all that it reads."
    rows = [
        (name, record["version"], record["fingerprint"][:12], ", ".join(record["reads"]))
        for name, record in lineage.items()
    ]
    return ReportPart(
        "Lineage",
        paragraph(sentence)
        + graph(reads, sentence)
        + table(["step", "version", "fingerprint", "reads"], rows, "as a table"),
    )


def releases_part(bank: Bank) -> ReportPart:
    """Rows of each release over time."""
    every = bank.releases()
    names = [name for name in ("documents", "events", "units", "datastore") if any(name in one.counts for one in every)]
    html = paragraph(f"{len(every):,} releases; this is of {bank.release.name}.")
    if len(every) > 1:
        series: dict[str, list[Point]] = {
            name: [(float(n), float(one.counts[name])) for n, one in enumerate(every, 1) if name in one.counts]
            for name in names
        }
        html += curves(series, "release, oldest first", "Rows of each release")
    rows = [(one.name, f"{one.created:%Y-%m-%d %H:%M}", *(one.counts.get(name, 0) for name in names)) for one in every]
    return ReportPart("Releases", html + table(["release", "made at (UTC)", *names], rows[-_LINES:]))


def against_part(bank: Bank, other: Bank | None) -> ReportPart:
    """What differs from another release."""
    if other is None:
        return ReportPart("Against", "")
    changes = diff(other, bank, 12)
    words = "The content is equal." if changes.equal else "The content differs."
    html = paragraph(f"Release {changes.before[1]} of {changes.before[0]}, and this one. {words}")
    rows = [
        (name, one.rows.added, one.rows.removed, one.rows.changed, ", ".join((*one.new_columns, *one.lost_columns)))
        for name, one in changes.datasets.items()
    ]
    places = changes.documents
    if not places.none:
        rows.insert(0, ("documents, by their places", places.added, places.removed, places.changed, ""))
    html += table(["dataset", "added", "removed", "changed", "columns new or lost"], rows)
    listed = [(kind, "  ".join(map(str, key))) for kind, keys in places.examples.items() for key in keys]
    html += table(["document", "place"], listed[:_LINES], "some of the documents")
    for title, phrases in (("recipe", changes.recipe), ("lineage", changes.lineage)):
        html += table([title], [(phrase,) for phrase in phrases[:_LINES]])
    html += _counts(other.release.counts, bank.release.counts)
    return ReportPart("Against", html)


def _counts(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    names = [name for name in after if before.get(name, 0) != after[name]]
    rows = [
        (name, before.get(name, 0), after[name], in_words(f"{after[name] - before.get(name, 0):+,}")) for name in names
    ]
    return table(["rows of", "there", "here", "difference"], rows)


def _rows(record: Mapping[str, Any]) -> int:
    return int(record.get("rows") or 0)


def _pace(record: Mapping[str, Any]) -> str:
    return in_words(f"{_rows(record) / record['seconds']:,.0f}" if record["seconds"] > 0 and _rows(record) else "")


def _megabytes(size: float) -> str:
    return (
        f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
    )
