"""`mnemic search`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import textwrap

from mnemic.bank import open_bank
from mnemic.schema import LEVELS
from mnemic.search import Found
from mnemic.terminal import plain

EXAMPLES = """  mnemic search memory/python-environment "how do I tag a dataset version?"
  mnemic search memory/notes "who owns the parser?" --words 200
  mnemic search memory/notes "releases" --where "start_time > date '2026-01-31'" --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("query", metavar="QUESTION", help="what to look for, in words")
    parser.add_argument("--words", type=int, default=500, help="words that the answer may have in all (default 500)")
    parser.add_argument("-k", type=int, default=None, help="events at most")
    parser.add_argument("--where", help="SQL condition over the columns of events, applied before the search")
    parser.add_argument("--level", choices=LEVELS, help="search only this level (default: the smallest)")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    found = bank.search(
        arguments.query, words=arguments.words, k=arguments.k, where=arguments.where, level=arguments.level
    )
    if arguments.json:
        for event in found:
            print(json.dumps(dataclasses.asdict(event), default=str))
        return 0
    if not found:
        print("Nothing found. Use other words, or a larger --words.")
        return 0
    terms = {word for word in re.findall(r"\w+", arguments.query.lower()) if len(word) > 2}
    for event in found:
        print(_shown(event, terms, sys.stdout.isatty()))
    total = sum(event.words for event in found)
    print(f"{len(found)} events, {total} words, from release {bank.release.name}")
    return 0


def _shown(event: Found, terms: set[str], colour: bool) -> str:
    where = plain(f"{event.source}  {event.locator}")
    when = f"  {event.time:%Y-%m-%d}" if event.time else ""
    signals = f"{event.reason}; fused {event.score:.4f}"
    if event.similarity is not None:
        signals += f", cosine {event.similarity:.3f}"
    if event.bm25 is not None:
        signals += f", bm25 {event.bm25:.2f}"
    body = textwrap.indent("\n".join(textwrap.fill(line, 112) for line in plain(event.text).splitlines()), "    ")
    if colour:
        where = f"\x1b[1m{where}\x1b[0m"
        body = re.sub(r"\w+", lambda word: f"\x1b[33m{word[0]}\x1b[0m" if word[0].lower() in terms else word[0], body)
    return f"{where}{when}\n    [{signals}]  {event.id[:12]}\n{body}\n"
