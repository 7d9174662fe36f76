"""`mnemic copy`."""

from __future__ import annotations

import argparse
import json
import sys

from mnemic.copies import copy
from mnemic.terminal import say

SUMMARY = "copies a bank, or one release, and holds every file against its hash"

EXAMPLES = """  mnemic copy memory/notes backup/notes                        all releases; a build may go on
  mnemic copy memory/notes backup/notes --release 2026.11.20
  mnemic copy memory/notes s3://bucket/notes --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("to", metavar="TO", help="a new folder, or s3://bucket/bank; a broken off copy goes on")
    parser.add_argument("--release", help="this release alone (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="say how much would be copied, and copy nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    outcome = copy(arguments.bank, arguments.to, arguments.release, arguments.dry_run, progress=show_progress)
    if arguments.json:
        say(json.dumps(outcome.as_json()))
        return 0
    there = f", {outcome.there:,} of them there already" if outcome.there else ""
    amount = f"{len(outcome.releases):,} releases, {outcome.files:,} files{there}, {outcome.bytes / 1e6:,.1f} MB"
    done = "nothing was copied yet" if arguments.dry_run else "every file has the hash that its release wrote down"
    say(f"{outcome.copy}: {amount}; {done}")
    return 0


def show_progress(done: int, total: int) -> None:
    """Files so far, on a terminal's error stream."""
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} files", end="\n" if done == total else "", file=sys.stderr, flush=True)
