"""`mnemic forget`."""

from __future__ import annotations

import argparse
import json

from mnemic.bank import open_bank
from mnemic.terminal import say

SUMMARY = "forgets what was remembered and waits for the next build; `remove` takes out documents"
EXAMPLES = """  mnemic remember memory/notes --list
  mnemic forget memory/notes 7e0c5d2f18b94a6f9c3e21d400000000
  mnemic forget memory/chats 7e0c5d2f18b94a6f9c3e21d400000000 --tenant team"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("ids", metavar="ID", nargs="+", help="ids of rows, as `mnemic remember` printed them")
    parser.add_argument("--tenant", help="only rows of this tenant are known")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank)
    count = bank.forget(arguments.ids, tenant=arguments.tenant)
    say(json.dumps({"forgotten": count}) if arguments.json else f"{count:,} row{'s' * (count != 1)} forgotten")
    return 0
