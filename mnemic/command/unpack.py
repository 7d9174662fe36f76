"""`mnemic unpack`."""

from __future__ import annotations

import argparse
import json

from mnemic.command.copy import show_progress
from mnemic.copies import unpack
from mnemic.terminal import say

SUMMARY = "makes a bank of a file that `mnemic pack` wrote; every byte is checked"

EXAMPLES = """  mnemic unpack notes.tar memory/notes
  mnemic unpack notes.tar memory/notes --dry-run    what is in it
  mnemic unpack notes.tar memory/notes --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="FILE", help="a file that `mnemic pack` wrote")
    parser.add_argument("to", metavar="TO", help="a new folder; it is there as a whole, or not")
    parser.add_argument("--dry-run", action="store_true", help="read what the file lists, and unpack nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    outcome = unpack(arguments.archive, arguments.to, arguments.dry_run, progress=show_progress)
    if arguments.json:
        say(json.dumps(outcome.as_json()))
        return 0
    done = "nothing was unpacked" if arguments.dry_run else f"unpacked into {outcome.copy}"
    amount = f"{outcome.files:,} files, {outcome.bytes / 1e6:,.1f} MB"
    say(f"release {outcome.releases[0]} of {outcome.bank}: {amount}; {done}")
    return 0
