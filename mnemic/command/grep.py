"""`mnemic grep`."""

from __future__ import annotations

import argparse
import json
import sys

from mnemic.bank import open_bank
from mnemic.command.trace import add_filters, where_of
from mnemic.terminal import coloured, one_line, plain, say
from mnemic.trace import Occurrence

SUMMARY = "the places of exactly these characters, and how many there are"
EXAMPLES = """  mnemic grep memory/python-environment "tag a dataset version"
  mnemic grep memory/chats "mended the parser" --tenant team
  mnemic grep memory/notes "def main(" -k 100 --json
  mnemic grep memory/notes "release" --count"""

_SHOWN = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("text", metavar="TEXT", help="characters as they are: no pattern, no change of case")
    parser.add_argument("-k", type=int, default=10, help="places that are shown, at most (default 10)")
    parser.add_argument("--count", action="store_true", help="only the number of places")
    add_filters(parser)
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    if arguments.count:
        count = bank.count(arguments.text, where_of(arguments))
        say(json.dumps({"release": bank.release.name, "count": count}) if arguments.json else str(count))
        return 0
    occurrences = bank.find_text(arguments.text, where_of(arguments), limit=arguments.k)
    if arguments.json:
        say(json.dumps(occurrences.as_json()))
        return 0
    for place in occurrences:
        print(_line(place, coloured(sys.stdout)))
    places = f"{occurrences.total:,} place{'s' * (occurrences.total != 1)}"
    documents = f"{occurrences.documents:,} document{'s' * (occurrences.documents != 1)}"
    say(f"{places} in {documents}, from release {bank.release.name}")
    return 0


def _line(place: Occurrence, colour: bool) -> str:
    """A place with a line of the text around it."""
    before = _flat(place.before)[-_SHOWN:]
    after = _flat(place.after)[:_SHOWN]
    text = _flat(place.text)
    text = f"\x1b[33m{text}\x1b[0m" if colour else text
    where = f"{one_line(place.source, 100)}  {one_line(place.locator, 200)}  {place.start:,}-{place.end:,}"
    return f"{where}  {one_line(place.document[:12], 12)}\n    {before}{text}{after}\n"


def _flat(text: str) -> str:
    """``text`` in one line, as many characters long: each that is white space is a space."""
    return "".join(" " if letter.isspace() else letter for letter in plain(text))
