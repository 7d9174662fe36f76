"""`mnemic report`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mnemic.bank import open_bank
from mnemic.terminal import say
from mnemic.whole_file import whole_file

SUMMARY = "one page about a bank: funnel, duplicates, events, clusters, memories, costs"
EXAMPLES = """  mnemic report memory/notes                           writes notes-RELEASE.html here
  mnemic report memory/notes --against 2026.11.20      with what has changed since
  mnemic report memory/notes --out notes.html
  mnemic report memory/notes --evaluation eval.json    with gains by topic, of mnemic eval --blocks --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--against", metavar="RELEASE", help="also what differs from this earlier release")
    parser.add_argument(
        "--evaluation", metavar="FILE", help="output of `mnemic eval BANK --blocks --json`: gains by topic are drawn"
    )
    parser.add_argument("--out", metavar="FILE", help="the page (default BANK-RELEASE.html, in this folder)")
    parser.add_argument("--release", help="a release other than the newest")


def run(arguments: argparse.Namespace) -> int:
    from mnemic.report import report
    from mnemic.report.topics import read_evaluation

    bank = open_bank(arguments.bank, arguments.release)
    against = open_bank(arguments.bank, arguments.against) if arguments.against else None
    name = os.path.basename(bank.path.rstrip("/")) or "bank"
    target = Path(arguments.out or f"{name}-{bank.release.name}.html")
    evaluation = read_evaluation(Path(arguments.evaluation)) if arguments.evaluation else None
    content = report(bank, against, evaluation).encode()
    with whole_file(target) as partial:
        partial.write_bytes(content)
    say(f"{target}, {len(content) / 1e3:,.0f} kB, from release {bank.release.name}: open it in a browser")
    return 0
