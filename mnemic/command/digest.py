"""`mnemic digest`."""

from __future__ import annotations

import argparse
import json

from mnemic.bank import open_bank
from mnemic.terminal import say

SUMMARY = "the content hash of a bank; equal banks have equal digests"
EXAMPLES = """  mnemic digest memory/python-environment
  mnemic digest memory/python-environment --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object: dataset -> hash")


def run(arguments: argparse.Namespace) -> int:
    digests = open_bank(arguments.bank, arguments.release).digest()
    if arguments.json:
        say(json.dumps(digests))
    else:
        say("\n".join(f"{value}  {name}" for name, value in digests.items()))
    return 0
