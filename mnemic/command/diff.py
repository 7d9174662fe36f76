"""`mnemic diff`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from mnemic.difference import BankChanges, diff
from mnemic.difference.banks import DatasetChanges, opened
from mnemic.difference.rows import RowChanges
from mnemic.terminal import one_line, say

SUMMARY = "what differs between two releases, or two banks"

EXAMPLES = """  mnemic diff memory/notes@2026.11.20 memory/notes        since that release
  mnemic diff memory/notes@2026.11.20 @2026.11.25         two releases of one bank
  mnemic diff memory/ours memory/theirs --json
  mnemic diff memory/notes@2026.11 @2026.10 && echo equal"""

MARKS = {"added": "+", "removed": "-", "changed": "~"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="BANK[@RELEASE]", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("after", metavar="[BANK][@RELEASE]", help="another bank, or @RELEASE of the first")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="keys shown of each change (default 10)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """The exit code is 0 where the content is equal, and 1 where it is not."""
    before = opened(arguments.before)
    changes = diff(before, opened(arguments.after, before.path), max(0, arguments.limit))
    say(json.dumps(changes.as_json(), default=str) if arguments.json else "\n".join(_lines(changes)))
    return 0 if changes.equal else 1


def _lines(changes: BankChanges) -> Iterator[str]:
    """The changes as lines for a person."""
    yield f"before {changes.before[0]}  release {changes.before[1]}"
    yield f"after  {changes.after[0]}  release {changes.after[1]}"
    if not changes.documents.none:
        yield f"\ndocuments by source and locator: {_counts(changes.documents)}"
        yield from _examples(changes.documents)
    for name, dataset in changes.datasets.items():
        yield f"\n{name}: {_counts(dataset.rows)}"
        yield from _columns(dataset)
        if name != "documents":
            yield from _examples(dataset.rows)
    for title, phrases in (("recipe", changes.recipe), ("lineage", changes.lineage)):
        if phrases:
            yield f"\n{title}"
            yield from (f"  {one_line(phrase, 200)}" for phrase in phrases)
    yield "\nequal content" if changes.equal else "\nthe content differs"


def _counts(rows: RowChanges) -> str:
    numbers = {name: getattr(rows, name) for name in MARKS}
    return ", ".join(f"{count:,} {name}" for name, count in numbers.items() if count) or "the same rows"


def _columns(dataset: DatasetChanges) -> Iterator[str]:
    for name, count in dataset.rows.columns.items():
        yield f"  {one_line(name, 60)} differs in {count:,} rows"
    for names, sentence in (
        (dataset.new_columns, "a new column"),
        (dataset.lost_columns, "no column any more"),
        (dataset.retyped_columns, "a column of another type"),
    ):
        yield from (f"  {one_line(name, 60)} is {sentence}" for name in names)


def _examples(rows: RowChanges) -> Iterator[str]:
    for name, keys in rows.examples.items():
        for key in keys:
            yield f"  {MARKS[name]} {one_line('  '.join(_shown(part) for part in key), 120)}"
        rest = getattr(rows, name) - len(keys)
        if rest:
            yield f"  {MARKS[name]} and {rest:,} more"


def _shown(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)
