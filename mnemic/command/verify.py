"""`mnemic verify`."""

from __future__ import annotations

import argparse
import json
import os
import sys

from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.terminal import say
from mnemic.verify import Verification, verify

SUMMARY = "whether any file of a bank has changed since its releases were written"

EXAMPLES = """  mnemic verify memory/notes           pins, sizes, files that nothing names: a second or two
  mnemic verify memory/notes --deep    also the hash of every file: as long as reading the bank takes
  mnemic verify s3://bucket/notes --json"""

MOST_ORPHANS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--deep", action="store_true", help="read every file and compare its hash with the release's")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """The exit code is that of a bank that cannot be read where anything is wrong; orphans alone are not."""
    store = Store(os.path.expanduser(arguments.bank) if "://" not in arguments.bank else arguments.bank)
    result = verify(store, arguments.deep, _progress)
    say(json.dumps(result.as_json()) if arguments.json else shown(result))
    return 0 if result.whole else BankError.exit_code


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} files", end="\n" if done == total else "", file=sys.stderr, flush=True)


def shown(result: Verification) -> str:
    """A verification as lines for a person: one sentence a finding."""
    lines = [str(finding) for finding in result.findings]
    if result.orphans:
        size = sum(result.orphans.values())
        lines.append(
            f"{len(result.orphans):,} files that no version names, {size / 1e6:,.1f} MB: a build under way writes "
            "them, or a killed one left them, and then the next build removes them."
        )
        lines += [f"  {path}" for path in list(result.orphans)[:MOST_ORPHANS]]
        if len(result.orphans) > MOST_ORPHANS:
            lines.append(f"  and {len(result.orphans) - MOST_ORPHANS:,} more; --json lists all")
    lines += result.notes
    hashed = f", {result.hashed:,} of them hashed" if result.deep else ""
    verdict = "whole" if result.whole else f"{len(result.findings):,} found to be wrong"
    lines.append(
        f"{result.bank}: {verdict}; {len(result.releases):,} releases, {result.files:,} files{hashed}, "
        f"{result.bytes / 1e6:,.1f} MB"
    )
    return "\n".join(lines)
