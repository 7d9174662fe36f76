"""`mnemic relations`."""

from __future__ import annotations

import argparse
import dataclasses
import json

from mnemic.bank import open_bank
from mnemic.conditions.values import moment
from mnemic.terminal import one_line, say

SUMMARY = "relations that a language model read in a bank's events, as of any day"
EXAMPLES = """  mnemic relations memory/chats
  mnemic relations memory/chats Ada --as-of 2023-06-01
  mnemic relations memory/chats Ada --label home --closed"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("name", nargs="?", help="only relations with this person or thing at either end")
    parser.add_argument("--label", help="only this label, such as home")
    parser.add_argument("--tenant", help="only relations of this tenant")
    parser.add_argument("--as-of", metavar="DAY", help="what held on this day, such as 2023-06-01")
    parser.add_argument("--closed", action="store_true", help="also relations that a later one ended")
    parser.add_argument("-k", type=int, default=50, help="relations that are shown, at most: the last (default 50)")
    parser.add_argument("--release", help="a release other than the newest: what was known then")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    relations = bank.relations(
        arguments.name,
        arguments.label,
        tenant=arguments.tenant,
        as_of=None if arguments.as_of is None else moment(arguments.as_of, "--as-of"),
        closed=arguments.closed,
    )
    last = relations[-arguments.k :] if arguments.k > 0 else []
    if arguments.json:
        rows = [dataclasses.asdict(relation) for relation in last]
        say(json.dumps({"release": bank.release.name, "total": len(relations), "relations": rows}, default=str))
        return 0
    for relation in last:
        since = "" if relation.start is None else f"{relation.start:%Y-%m-%d}"
        until = "" if relation.stop is None else f"until {relation.stop:%Y-%m-%d}"
        triple = " - ".join(one_line(part, 80) for part in (relation.subject, relation.label, relation.object))
        doubt = f"  contradicted by {len(relation.contradicts)}" if relation.contradicts else ""
        say(f"{since:<10} {until:<17} {triple}{doubt}")
    count = f"{len(relations):,} relation{'s' * (len(relations) != 1)}"
    say(f"{count}, read by a language model, of release {bank.release.name}")
    return 0
