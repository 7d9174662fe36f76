"""`mnemic rollback`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from mnemic.terminal import say
from pipelines.progress import TerminalLines
from pipelines.upkeep.rollback import Rollback, rollback

SUMMARY = "goes back to an earlier release, by a new one; nothing is lost"

EXAMPLES = """  mnemic rollback memory/notes 2026.11.20 --dry-run    what would change
  mnemic rollback memory/notes 2026.11.20              and again with the newest release to undo it
  mnemic rollback memory/notes 2026.11.20 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("release", metavar="RELEASE", help="the release to go back to, or how its name begins")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    outcome = rollback(arguments.bank, arguments.release, arguments.dry_run, sink=TerminalLines())
    say(json.dumps(outcome.as_json()) if arguments.json else "\n".join(_lines(outcome, arguments.dry_run)))
    return 0


def _lines(outcome: Rollback, dry: bool) -> Iterator[str]:
    """The outcome as lines for a person."""
    for name, (now, then) in outcome.datasets.items():
        yield f"  {name:<14} {now:>12,} rows -> {then:>12,}"
    if dry:
        yield f"{outcome.bank} would go from {outcome.release} back to {outcome.to}; nothing was changed"
    elif not outcome.written:
        yield f"nothing to do: {outcome.bank} is at {outcome.to}"
    else:
        yield (
            f"release {outcome.written} of {outcome.bank} is {outcome.to} again, and the next build goes on from it; "
            f"{outcome.release} stays"
        )
