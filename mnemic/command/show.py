"""`mnemic show`."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from mnemic.bank import Bank, open_bank
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.expected import check_schema
from mnemic.facts import consistent, mapping
from mnemic.funnel import dues, funnel, upkeep_dues, waiting_dues
from mnemic.kept import KEPT
from mnemic.quoting import one_of
from mnemic.release import Release
from mnemic.terminal import one_line, plain, say
from mnemic.view import fitting

SUMMARY = "how much there is of what, clusters, a sample, releases; --failures: what was left out and why"
EXAMPLES = """  mnemic show memory/python-environment
  mnemic show memory/python-environment --lineage
  mnemic show memory/python-environment --failures
  mnemic show memory/python-environment --json"""

_SOURCES, _CLUSTERS, _SAMPLE, _RELEASES = 8, 8, 3, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--failures", action="store_true", help="what was left out, by which step and why")
    parser.add_argument("--lineage", action="store_true", help="also datasets, indexes, fingerprints, all releases")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    if arguments.failures:
        return _failures(arguments.bank, arguments.json)
    bank = open_bank(arguments.bank, arguments.release)
    with fitting(bank.view, "The facts"):
        facts = _facts(bank)
    if arguments.json:
        say(json.dumps(facts, default=str))
        return 0
    with fitting(bank.view, "The facts"):
        text = "\n".join(_lines(bank, facts, arguments.lineage))
    say(text)
    return 0


def _lines(bank: Bank, facts: dict[str, Any], lineage: bool) -> Iterator[str]:
    """The facts as lines for a person: how much there is, of what, since when, and a sample; the rest on request."""
    release = bank.release
    yield f"{bank.path}  release {release.name} of {release.created:%Y-%m-%d %H:%M} UTC\n"
    for name, count in facts["funnel"].items():
        yield f"  {name:<20} {count:>12,}"
    sources, others = facts["sources"][:_SOURCES], len(facts["sources"]) - _SOURCES
    if sources:
        yield "\nkept documents by source"
        yield from (f"  {one_line(name, 60):<20} {count:>12,}" for name, count in sources)
    if others > 0:
        yield f"  and {others:,} more"
    if facts["clusters"]:
        yield "\nclusters"
        yield from (f"  {size:>8,}  {one_line(label, 100)}" for label, size in facts["clusters"])
    if facts["sample"]:
        yield "\na sample"
    for locator, text in facts["sample"]:
        yield f"  {one_line(locator, 100)}"
        yield f"      {one_line(text, 100)}"
    for memory in facts["memories"]:
        yield f"\nmemory {memory['name']} ({memory['kind']}){_perplexities(memory['metrics'])}"
        if memory["name"] in facts["stale"]:
            one = facts["stale"][memory["name"]]
            yield (
                f"  stale: {one['documents']:,} documents of its training ({one['share']:.2%}) were removed since; the "
                "next build trains it without them"
            )
    for due in facts["due"]:
        yield f"\n{due}"
    yield "\nreleases, the newest last"
    shown = bank.releases()
    for one in shown if lineage else shown[-_RELEASES:]:
        yield f"  {one.name:<16} {one.created:%Y-%m-%d %H:%M}  run {one.run}{_upkeep(one)}"
    if lineage:
        yield from _lineage(bank, facts)
    else:
        yield "\n`--lineage`: datasets, indexes and fingerprints; `mnemic report` writes a page with figures"


def _lineage(bank: Bank, facts: dict[str, Any]) -> Iterator[str]:
    """Versions and sizes of datasets, indexes, the fingerprints of steps, and the numbers of memories."""
    yield "\ndatasets"
    for name, version in bank.release.versions.items():
        yield f"  {name:<20} {bank.release.counts[name]:>12,} rows   version {version}"
    if facts["indexes"]:
        yield "\nindexes of events"
    for column, index in facts["indexes"].items():
        yield f"  {one_line(column, 60):<20} {index['rows']:>12,} rows   {_index(index)}"
    yield "\nlineage (step, operator version, fingerprint, what it reads)"
    for name, record in bank.release.lineage.items():
        reads = one_line(", ".join(record["reads"]), 200)
        yield f"  {one_line(name, 60):<20} v{record['version']}  {record['fingerprint'][:12]}  {reads}"
    for memory in facts["memories"]:
        yield f"\nmemory {memory['name']} ({memory['kind']}): {json.dumps(memory['metrics'])}"


def _perplexities(metrics: dict[str, Any]) -> str:
    base, own = metrics.get("validation_base_perplexity"), metrics.get("validation_perplexity")
    return f": perplexity {own:.2f} on validation text, {base:.2f} without it" if base and own else ""


def _sources(bank: Bank) -> list[tuple[str, int]]:
    """Kept documents by source, the largest first."""
    counts: Counter[str] = Counter()
    for batch in bank.view.dataset("documents").scan(["source"], KEPT, batch_size=65536):
        counts.update({one["values"]: one["counts"] for one in batch["source"].value_counts().to_pylist()})
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _clusters(bank: Bank) -> list[tuple[str, int]]:
    """Names and sizes of the largest branches of the tree."""
    if "clusters" not in bank.view:
        return []
    rows = bank.view.table("clusters", ["label", "size"], "level = 1").to_pylist()
    largest = sorted(rows, key=lambda row: (-row["size"], row["label"]))[:_CLUSTERS]
    return [(row["label"], row["size"]) for row in largest]


def _sample(bank: Bank) -> list[tuple[str, str]]:
    """(locator, beginning) of the kept documents with the smallest ids, which are hashes: any few of them."""
    ids: list[str] = []
    for batch in bank.view.dataset("documents").scan(["id"], KEPT, batch_size=65536):
        smallest = batch["id"].take(pc.bottom_k_unstable(batch["id"], _SAMPLE))
        ids = sorted([*ids, *smallest.to_pylist()])[:_SAMPLE]
    if not ids:
        return []
    rows = bank.view.table("documents", ["id", "locator", "text"], one_of("id", ids)).to_pylist()
    return [(row["locator"], row["text"][:200]) for row in sorted(rows, key=lambda row: row["id"])]


def _facts(bank: Bank) -> dict[str, Any]:
    return {
        "bank": bank.path,
        "release": bank.release.name,
        "created": bank.release.created,
        "funnel": funnel(bank),
        "sources": _sources(bank),
        "clusters": _clusters(bank),
        "sample": _sample(bank),
        "versions": bank.release.versions,
        "indexes": bank.release.lineage.get("release", {}).get("indexes", {}),
        "counts": bank.release.counts,
        "lineage": bank.release.lineage,
        "due": [*dues(bank.release.lineage), *upkeep_dues(bank), *waiting_dues(bank)],
        "memories": [memory.as_json() for memory in bank.memories()],
        "stale": {name: asdict(one) for name, one in bank.stale().items()},
        "releases": [release.name for release in bank.releases()],
    }


def _upkeep(release: Release) -> str:
    """The command of upkeep that made this release, where no build did."""
    own = release.lineage.get("release", {})
    if "rolled_back_to" in own:
        return one_line(f"  {own['rolled_back_to']} again, after {own.get('rolled_back_from')}", 200)
    if "removed" in own:
        what = own["removed"] if isinstance(own["removed"], dict) else {}
        verb = "erased" if what.get("erased") else "removed"
        return one_line(f"  {what.get('documents')} documents {verb}, {what.get('removal')}", 200)
    return one_line(f"  {own['compacted']}, compacted", 200) if "compacted" in own else ""


def _index(index: dict[str, Any]) -> str:
    """The kind of an index; for an approximate one also its recall and the share of the rows that it reads."""
    if "nprobes" not in index:
        return str(index["kind"])
    return (
        f"{index['kind']}, {index['nprobes']:,} of {index['partitions']:,} partitions looked at, "
        f"recall@10 {index['recall_at_10']:.3f} of exact on {index['sample']:,} rows"
    )


def _failed_steps(store: Store, newest: int = 5) -> list[dict[str, Any]]:
    """The newest steps that failed, oldest first, with the last lines of their workers."""
    failed = []
    for row in _rows(store, "runs", ["run", "step", "started", "record"]):
        record = mapping(row.pop("record"), f"The record of a run in {store.root}")
        if "failed" in record:
            started = f"{row['started']:%Y-%m-%d %H:%M:%S} UTC"
            log = [str(line) for line in record.get("log", [])]
            failed.append({**row, "started": started, "failed": str(record["failed"]), "log": log})
    return failed[-newest:]


def _rows(store: Store, name: str, columns: list[str]) -> list[dict[str, Any]]:
    """The content of a dataset at the head of the bank; nothing where there is none."""
    snapshot = store[name].snapshot()
    if snapshot is None:
        return []
    check_schema(name, snapshot.schema, snapshot.uri)
    rows: list[dict[str, Any]] = snapshot.in_commit_order(columns, CATALOGUE[name].counted).to_pylist()
    return rows


def _failures(path: str, as_json: bool) -> int:
    """Works on a bank without a release too: a build that failed is when one asks."""
    if not Path(path).is_dir() and "://" not in path:
        raise BankError(f"{path} does not exist. Build a bank there with `mnemic build`, or check the path.")
    store = Store(path)
    if store["rejects"].snapshot() is None and store["runs"].snapshot() is None:
        raise BankError(f"{path} is not a bank. Build one there with `mnemic build`, or check the path.")
    with consistent("The rejects and runs", path):
        rows = _with_sources(store, _rows(store, "rejects", ["step", "severity", "locator", "reason", "run", "input"]))
        rows.sort(key=lambda row: (row["severity"] != "reject", row["step"], row["source"], row["locator"]))
        failed = _failed_steps(store)
        text = json.dumps({"rejects": rows, "failed_steps": failed}) if as_json else _left_out(rows, failed)
    say(text)
    return 0


def _with_sources(store: Store, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``rows`` with their `source`, where their item gave documents too: two sources may have equal places."""
    documents = store["documents"].snapshot()
    inputs = sorted({row["input"] for row in rows if row["step"] == "read"})
    source_of: dict[str, str] = {}
    for first in range(0, 0 if documents is None else len(inputs), 512):
        assert documents is not None
        some = documents.table(["item", "source"], one_of("item", inputs[first : first + 512]))
        source_of.update(zip(some["item"].to_pylist(), some["source"].to_pylist(), strict=True))
    return [
        {**{name: value for name, value in row.items() if name != "input"}, "source": source_of.get(row["input"], "")}
        for row in rows
    ]


def _left_out(rows: list[dict[str, Any]], failed: list[dict[str, Any]]) -> str:
    lines = []
    for step in failed:
        lines.append(f"{step['step']} failed at {step['started']} (run {step['run']}): {step['failed']}")
        lines += [f"    {one_line(line, 200)}" for line in step["log"]]
    lines += [] if rows else ["Nothing was left out."]
    for row in rows:
        source = f"{plain(row['source'])}  " if row["source"] else ""
        lines.append(f"{row['step']:<10} {row['severity']:<7} {source}{one_line(row['locator'], 60)}")
        lines.append(f"           {one_line(row['reason'], 200)}")
    return "\n".join(lines)
