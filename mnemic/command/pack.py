"""`mnemic pack`."""

from __future__ import annotations

import argparse
import json

from mnemic.bank import open_bank
from mnemic.command.copy import show_progress
from mnemic.copies import pack
from mnemic.terminal import say

SUMMARY = "one release as one file, which `mnemic unpack` makes a bank of"

EXAMPLES = """  mnemic pack memory/notes notes.tar                     the newest release
  mnemic pack memory/notes notes.tar --release 2026.11.20
  mnemic pack memory/notes notes.tar --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("file", metavar="FILE", help="a new file; it is a tar without compression")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--dry-run", action="store_true", help="say how much would be packed, and write nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    archive = pack(arguments.bank, arguments.file, arguments.release, arguments.dry_run, progress=show_progress)
    if arguments.json:
        say(json.dumps(archive.as_json()))
        return 0
    waiting = 0 if arguments.release else len(open_bank(arguments.bank).inbox())
    done = "nothing was written" if arguments.dry_run else f"packed into {archive.file}"
    say(f"release {archive.release} of {archive.bank}: {archive.files:,} files, {archive.bytes / 1e6:,.1f} MB; {done}")
    if waiting:
        say(f"{waiting:,} remembered texts wait for the next build and are not in it: build the bank first, then pack.")
    return 0
