"""`mnemic timeline`."""

from __future__ import annotations

import argparse
import dataclasses
import json

from mnemic.bank import open_bank
from mnemic.conditions.values import moment
from mnemic.terminal import one_line, say

SUMMARY = "events of a name, or of all, in the order of the times that they speak of; no language model is needed"
EXAMPLES = """  mnemic timeline memory/chats
  mnemic timeline memory/chats Rex --meant
  mnemic timeline memory/chats "Ada Stone" --tenant team --after 2023-01-01 --before 2024-01-01"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("name", nargs="?", help="only events that mention this name, or that it speaks in")
    parser.add_argument("--tenant", help="only events of this tenant")
    parser.add_argument("--after", metavar="DAY", help="only times that reach beyond this day, such as 2023-06-01")
    parser.add_argument("--before", metavar="DAY", help="only times that begin before this day")
    parser.add_argument("--meant", action="store_true", help="only times that a text names, not when it was said")
    parser.add_argument("-k", type=int, default=50, help="steps that are shown, at most (default 50)")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    steps = bank.timeline(
        arguments.name,
        tenant=arguments.tenant,
        after=None if arguments.after is None else moment(arguments.after, "--after"),
        before=None if arguments.before is None else moment(arguments.before, "--before"),
        meant=arguments.meant,
        k=arguments.k,
    )
    if arguments.json:
        rows = [{**dataclasses.asdict(step), "words": step.words} for step in steps]
        say(json.dumps({"release": bank.release.name, "steps": rows}, default=str))
        return 0
    for step in steps:
        day = f"  said {step.said_at:%Y-%m-%d}" if step.said_at is not None and step.kind == "meant" else ""
        say(f"{step.words:<24} {one_line(step.text, 200)}\n    event {one_line(step.event[:12], 12)}{day}")
    about = "" if arguments.name is None else f" of {one_line(arguments.name, 60)!r}"
    say(f"{len(steps):,} step{'s' * (len(steps) != 1)}{about} of release {bank.release.name}")
    return 0
