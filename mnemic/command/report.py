"""`mnemic report`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.terminal import say
from mnemic.whole_file import whole_file

SUMMARY = "one page about a bank: funnel, duplicates, events, clusters, memories, costs"
EXAMPLES = """  mnemic report memory/notes                           writes notes-RELEASE.html here
  mnemic report memory/notes --against 2026.11.20      with what has changed since
  mnemic report memory/notes --out notes.html
  mnemic report memory/notes --generate                with texts that its model continues with and without memories
  mnemic report memory/notes --prompt "We decided to"  with this text continued, and no others
  mnemic report memory/notes --evaluation eval.json    with gains by topic, of mnemic eval --blocks --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--against", metavar="RELEASE", help="also what differs from this earlier release")
    parser.add_argument(
        "--evaluation",
        metavar="FILE",
        help="output of `mnemic eval BANK --blocks --generate --json`: gains by topic and generations are drawn",
    )
    parser.add_argument(
        "--generate", action="store_true", help="also texts that the bank's model continues alone and with each memory"
    )
    parser.add_argument(
        "--prompt", metavar="TEXT", action="append", default=[], help="continue this text, and no others; repeatable"
    )
    parser.add_argument("--out", metavar="FILE", help="the page (default BANK-RELEASE.html, in this folder)")
    parser.add_argument("--release", help="a release other than the newest")


def run(arguments: argparse.Namespace) -> int:
    from mnemic.report import report
    from mnemic.report.evaluation import read_evaluation

    bank = open_bank(arguments.bank, arguments.release)
    against = open_bank(arguments.bank, arguments.against) if arguments.against else None
    name = os.path.basename(bank.path.rstrip("/")) or "bank"
    target = Path(arguments.out or f"{name}-{bank.release.name}.html")
    evaluation = read_evaluation(Path(arguments.evaluation)) if arguments.evaluation else None
    if arguments.generate or arguments.prompt:
        evaluation = {"release": bank.release.name, **(evaluation or {}), "continuations": _continued(bank, arguments)}
    content = report(bank, against, evaluation).encode()
    with whole_file(target) as partial:
        partial.write_bytes(content)
    say(f"{target}, {len(content) / 1e3:,.0f} kB, from release {bank.release.name}: open it in a browser")
    return 0


def _continued(bank: Bank, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from mnemic.continued import continuations

    def doing(words: str) -> None:
        if sys.stderr.isatty():
            print(f"{words} ...", file=sys.stderr)

    texts = [asdict(one) for one in continuations(bank, arguments.prompt, doing=doing)]
    if not texts:
        print("No text of the bank is prose and long enough to be continued; give one with --prompt.", file=sys.stderr)
    return texts
