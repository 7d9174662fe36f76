"""`mnemic show`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.funnel import dues, funnel
from mnemic.terminal import one_line, plain

SUMMARY = "releases, datasets, lineage; --failures: what was left out and why"
EXAMPLES = """  mnemic show memory/python-environment
  mnemic show memory/python-environment --failures
  mnemic show memory/python-environment --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--failures", action="store_true", help="what was left out, by which step and why")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    if arguments.failures:
        return _failures(arguments.bank, arguments.json)
    bank = open_bank(arguments.bank, arguments.release)
    facts = _facts(bank)
    if arguments.json:
        print(json.dumps(facts, default=str))
        return 0
    print(f"{bank.path}  release {bank.release.name} of {bank.release.created:%Y-%m-%d %H:%M} UTC\n")
    print("funnel")
    for name, count in facts["funnel"].items():
        print(f"  {name:<20} {count:>12,}")
    print("\ndatasets")
    for name, version in bank.release.versions.items():
        print(f"  {name:<20} {bank.release.counts[name]:>12,} rows   version {version}")
    if facts["indexes"]:
        print("\nindexes of events")
    for column, index in facts["indexes"].items():
        print(f"  {column:<20} {index['rows']:>12,} rows   {_index(index)}")
    print("\nlineage (step, operator version, fingerprint, what it reads)")
    for name, record in bank.release.lineage.items():
        print(f"  {name:<20} v{record['version']}  {record['fingerprint'][:12]}  {', '.join(record['reads'])}")
    for due in dues(bank.release.lineage):
        print(f"\n{due}")
    for memory in facts["memories"]:
        print(f"\nmemory {memory['name']} ({memory['kind']}): {json.dumps(memory['metrics'])}")
    print("\nreleases")
    for release in bank.releases():
        print(f"  {release.name:<16} {release.created:%Y-%m-%d %H:%M}  run {release.run}")
    return 0


def _facts(bank: Bank) -> dict[str, Any]:
    return {
        "bank": bank.path,
        "release": bank.release.name,
        "created": bank.release.created,
        "funnel": funnel(bank),
        "versions": bank.release.versions,
        "indexes": bank.release.lineage.get("release", {}).get("indexes", {}),
        "counts": bank.release.counts,
        "lineage": bank.release.lineage,
        "memories": [memory.as_json() for memory in bank.memories()],
        "releases": [release.name for release in bank.releases()],
    }


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
    snapshot = store["runs"].snapshot()
    rows = [] if snapshot is None else snapshot.table(["run", "step", "started", "record"]).to_pylist()
    failed = []
    for row in sorted(rows, key=lambda row: row["started"]):
        record = json.loads(row["record"])
        if "failed" in record:
            started = f"{row['started']:%Y-%m-%d %H:%M:%S} UTC"
            failed.append({**row, "started": started, "failed": record["failed"], "log": record.get("log", [])})
            del failed[-1]["record"]
    return failed[-newest:]


def _failures(path: str, as_json: bool) -> int:
    """Works on a bank without a release too: a build that failed is when one asks."""
    if not Path(path).is_dir() and "://" not in path:
        raise BankError(f"{path} does not exist. Build a bank there with `mnemic build`, or check the path.")
    store = Store(path)
    snapshot = store["rejects"].snapshot()
    if snapshot is None and store["runs"].snapshot() is None:
        raise BankError(f"{path} is not a bank. Build one there with `mnemic build`, or check the path.")
    columns, counted = ["step", "severity", "locator", "reason", "run"], CATALOGUE["rejects"].counted
    rows = [] if snapshot is None else snapshot.table(columns, counted).to_pylist()
    rows.sort(key=lambda row: (row["severity"] != "reject", row["step"], row["locator"]))
    failed = _failed_steps(store)
    if as_json:
        print(json.dumps({"rejects": rows, "failed_steps": failed}))
        return 0
    for step in failed:
        print(f"{step['step']} failed at {step['started']} (run {step['run']}): {plain(step['failed'])}")
        for line in step["log"]:
            print(f"    {one_line(line, 200)}")
    if not rows:
        print("Nothing was left out.")
    for row in rows:
        print(
            f"{row['step']:<10} {row['severity']:<7} {one_line(row['locator'], 60)}\n"
            f"           {one_line(row['reason'], 200)}"
        )
    return 0
