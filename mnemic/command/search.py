"""`mnemic search`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.errors import QueryError
from mnemic.schema import LEVELS
from mnemic.search import Hit, Results
from mnemic.search.people import check_names
from mnemic.search.shown import Style, best_first, roots, shown, surroundings
from mnemic.terminal import coloured, plain, say
from mnemic.view import fitting

SUMMARY = "events that answer a question, under a budget of words"
EXAMPLES = """  mnemic search memory/python-environment "how do I tag a dataset version?"
  mnemic search memory/notes "who owns the parser?" --words 200 --source wiki --after 2026-01-31
  mnemic search memory/chats "what did Ada mend?" --tenant team --level event
  mnemic search memory/notes "releases" --where "words > 20" --json
  mnemic search memory/notes "who owns the parser?" --around 1    with the row before and after each
  mnemic search memory/notes "who owns the parser?" --explain     with scores, ranks and ids
  mnemic search memory/notes "who owns the parser?" --text        the passages, for a prompt
  mnemic search memory/notes                                      asks for questions, one a line"""

_FILTERS = ("tenant", "source", "collection", "session", "speaker")
_OF_CONTEXT = ("part_similarity", "title_bm25")
"""Signals that only banks with `context` have, and their JSON."""
_AROUND = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("query", metavar="QUESTION", nargs="?", help="what to look for; without it, lines are read")
    parser.add_argument("--words", type=int, default=500, help="words that the answer may have in all (default 500)")
    parser.add_argument("--tokens", type=int, help="tokens of the encoder that it may have, in place of words")
    parser.add_argument("-k", type=int, default=None, help="events at most")
    for name in _FILTERS:
        parser.add_argument(f"--{name}", action="append", help=f"only of this {name}; may be given several times")
    parser.add_argument("--after", metavar="TIME", help="only from this time on, as 2026-01-31 or 2026-01-31T09:30")
    parser.add_argument("--before", metavar="TIME", help="only before this time")
    parser.add_argument("--where", help="SQL condition over the columns of events, applied before the search")
    parser.add_argument("--level", choices=LEVELS, help="search only this level (default: the smallest)")
    parser.add_argument("--route", type=int, metavar="N", help="compare only vectors in the N nearest clusters")
    parser.add_argument(
        "--dated", action="store_true", help="write the days of relative times into the texts, and count them"
    )
    parser.add_argument(
        "--links",
        action=argparse.BooleanOptionalAction,
        help="follow titles that the question and the best texts name (default: yes, but at the levels event and turn)",
    )
    parser.add_argument("--explain", action="store_true", help="show the scores, the ranks and the id of each event")
    parser.add_argument(
        "--around", type=int, default=0, metavar="N", help="show N rows before and after each, at most 9"
    )
    parser.add_argument("--release", help="a release other than the newest")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object a line")
    shape.add_argument("--text", action="store_true", help="the numbered passages with their sources, for a prompt")


def run(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.around <= _AROUND:
        raise QueryError(f"--around {arguments.around} rows cannot be shown; give a number from 0 to {_AROUND}.")
    bank = open_bank(arguments.bank, arguments.release)
    check_names(bank.view, _named(arguments), bank.inbox())
    settings = {
        "words": arguments.words,
        "tokens": arguments.tokens,
        "k": arguments.k,
        "where": [arguments.where, _named(arguments)],
        "level": arguments.level,
        "route": arguments.route,
        "dated": arguments.dated,
        "links": arguments.links,
    }
    if arguments.query is not None:
        _answer(bank, arguments.query, settings, arguments)
        return 0
    for question in _questions():
        try:
            _answer(bank, question, settings, arguments)
        except QueryError as error:
            print(plain(str(error)), file=sys.stderr)
    return 0


def _named(arguments: argparse.Namespace) -> dict[str, Any]:
    """The conditions by name that were given."""
    options = {name: getattr(arguments, name) for name in (*_FILTERS, "after", "before")}
    return {name: value for name, value in options.items() if value is not None}


def _questions() -> Iterator[str]:
    """Lines of the standard input until it ends; with a prompt, and until an empty line, at a terminal."""
    at_terminal = sys.stdin.isatty()
    while True:
        if at_terminal:
            print("question (an empty line ends): ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or (at_terminal and not line.strip()):
            return
        if line.strip():
            yield line.strip()


def _answer(bank: Bank, question: str, settings: dict[str, Any], arguments: argparse.Namespace) -> None:
    results = bank.search(question, **settings)
    if arguments.json:
        for hit in results:
            say(json.dumps(_facts(hit, arguments.dated), default=str))
        return
    if not results:
        print("Nothing found. Use other words, or a larger --words.", file=sys.stderr if arguments.text else sys.stdout)
        return
    if arguments.text:
        say(results.text())
        return
    style = Style(coloured(sys.stdout), arguments.explain, arguments.dated, roots(question))
    hits = best_first(results)
    with fitting(bank.view, "The events and documents"):
        beside = surroundings(bank.view, hits, arguments.around)
    width = min(shutil.get_terminal_size().columns - 4, 112) if sys.stdout.isatty() else 112
    for number, hit in enumerate(hits, start=1):
        print(shown(number, hit, style, beside, max(width, 20)))
    say(_summed_up(results, bank.release.name))


def _summed_up(results: Results, release: str) -> str:
    scanned = "" if results.scanned >= 1 else f", {results.scanned:.1%} of the vectors compared"
    return f"{len(results)} event{'s' * (len(results) != 1)}, {results.words} words, from release {release}{scanned}"


def _facts(event: Hit, dated: bool) -> dict[str, Any]:
    """The fields of an event as JSON has them; its dated text where that was asked for."""
    values = dataclasses.asdict(event)
    del values["spoken"]
    left_out = [name for name in _OF_CONTEXT if values[name] is None]
    facts = {name: value for name, value in values.items() if name not in left_out}
    return {**facts, "dated": event.dated} if dated else facts
