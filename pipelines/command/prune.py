"""`mnemic prune`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from mnemic.terminal import say
from pipelines.progress import TerminalLines
from pipelines.upkeep.prune import Pruning, prune

SUMMARY = "ends old releases, and frees what only they need"

EXAMPLES = """  mnemic prune memory/notes --dry-run              what would end, and what it would free
  mnemic prune memory/notes                        the newest 5 stay, and the last of each of 12 months
  mnemic prune memory/notes --keep 3 --keep-monthly 0"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--keep", type=int, default=5, metavar="N", help="newest releases that stay (default 5)")
    parser.add_argument(
        "--keep-monthly",
        type=int,
        default=12,
        metavar="M",
        help="months, counted back from the newest, whose last release stays (default 12)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    outcome = prune(arguments.bank, arguments.keep, arguments.keep_monthly, arguments.dry_run, sink=TerminalLines())
    say(json.dumps(outcome.as_json()) if arguments.json else "\n".join(_lines(outcome, arguments.dry_run)))
    return 0


def _lines(outcome: Pruning, dry: bool) -> Iterator[str]:
    """The outcome as lines for a person."""
    for name, count in outcome.versions.items():
        yield f"  {name:<14} {count:>8,} versions  {outcome.bytes[name] / 1e6:>10,.1f} MB"
    ended, rest = len(outcome.ended), len(outcome.staying)
    names = f" ({', '.join(outcome.ended[:5])}{', ...' if ended > 5 else ''})" if ended else ""
    if dry:
        yield f"{outcome.bank}: {ended:,} releases would end{names}, {rest:,} would stay; about {_freed(outcome)} go"
        yield "nothing was changed; the same command without --dry-run does it"
    else:
        yield f"{outcome.bank}: {ended:,} releases ended{names}, {rest:,} stay; about {_freed(outcome)} went"


def _freed(outcome: Pruning) -> str:
    return f"{outcome.freed / 1e6:,.1f} MB"
