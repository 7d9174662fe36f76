"""`mnemic compact`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from mnemic.terminal import say
from pipelines.progress import TerminalLines
from pipelines.upkeep.compact import Compaction, compact

SUMMARY = "merges the small fragments that many builds leave; the digest stays"

EXAMPLES = """  mnemic compact memory/notes --dry-run    what would be merged
  mnemic compact memory/notes              then `mnemic prune`, which frees what was there before
  mnemic compact memory/notes --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--dry-run", action="store_true", help="say what would be merged, and change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    outcome = compact(arguments.bank, arguments.dry_run, sink=TerminalLines())
    say(json.dumps(outcome.as_json()) if arguments.json else "\n".join(_lines(outcome, arguments.dry_run)))
    return 0


def _lines(outcome: Compaction, dry: bool) -> Iterator[str]:
    """The outcome as lines for a person."""
    for name, (before, after) in outcome.datasets.items():
        yield f"  {name:<14} {before:>8,} fragments -> {after:>8,}"
    if not outcome.datasets:
        yield f"nothing to do: no fragments of {outcome.bank} are worth merging"
    elif dry:
        yield "nothing was changed; the same command without --dry-run does it"
    else:
        yield f"release {outcome.written} of {outcome.bank} has the same content in fewer fragments"
