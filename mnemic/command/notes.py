"""`mnemic notes`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.conditions.values import moment
from mnemic.errors import QueryError
from mnemic.notes.history import Note
from mnemic.terminal import one_line, say

SUMMARY = "what a language model wrote of a bank's events, as of any day; --calls: what that cost"
EXAMPLES = """  mnemic notes memory/chats
  mnemic notes memory/chats --subject Ada --as-of 2023-06-01
  mnemic notes memory/chats --subject Ada --closed
  mnemic notes memory/chats --calls"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--subject", help="only notes about this person or thing")
    parser.add_argument("--attribute", help="only this attribute, such as home")
    parser.add_argument("--tenant", help="only notes of this tenant")
    parser.add_argument("--as-of", metavar="DAY", help="what held on this day, such as 2023-06-01")
    parser.add_argument("--closed", action="store_true", help="also notes that a later one ended")
    parser.add_argument("--calls", action="store_true", help="what was asked and paid, instead of notes")
    parser.add_argument("-k", type=int, default=50, help="notes that are shown, at most (default 50)")
    parser.add_argument("--release", help="a release other than the newest: what was known then")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    if arguments.calls:
        facts = _paid(bank)
        say(json.dumps(facts) if arguments.json else "\n".join(_ledger_lines(facts)))
        return 0
    notes = bank.notes(
        arguments.subject,
        arguments.attribute,
        tenant=arguments.tenant,
        as_of=None if arguments.as_of is None else moment(arguments.as_of, "--as-of"),
        closed=arguments.closed,
    )
    if arguments.json:
        rows = [dataclasses.asdict(note) for note in notes[-arguments.k :]]
        say(json.dumps({"release": bank.release.name, "total": len(notes), "notes": rows}, default=str))
        return 0
    for note in notes[-arguments.k :]:
        say("\n".join(_lines(note)))
    say(f"{len(notes):,} note{'s' * (len(notes) != 1)}, written by a language model, of release {bank.release.name}")
    return 0


def _lines(note: Note) -> Iterator[str]:
    since = "" if note.start is None else f"{note.start:%Y-%m-%d}"
    until = "" if note.stop is None else f"{note.stop:%Y-%m-%d}"
    yield f"{since:<10} {f'until {until}' if until else '':<17} {one_line(note.text, 200)}"
    if note.attribute:
        doubt = f"  contradicted by {len(note.contradicts)}" if note.contradicts else ""
        yield f"    {one_line(note.subject, 60)} . {one_line(note.attribute, 40)} = {one_line(note.value, 80)}{doubt}"
    first = note.sources[0]
    more = f" and {len(note.sources) - 1:,} more" if len(note.sources) > 1 else ""
    yield f"    from {one_line(first.event[:12], 12)}, characters {first.start:,} to {first.end:,}{more}"


def _paid(bank: Bank) -> dict[str, Any]:
    from mnemic.notes.datasets import ANSWER, CALLS_SPEC
    from mnemic.notes.ledger import PAID, ledger

    if CALLS_SPEC.name not in bank.view:
        raise QueryError(
            f"Release {bank.release.name} of {bank.path} has no calls to a language model. Add the section `written` "
            "to its recipe, and build again."
        )
    calls = [bank.dataset(name) for name in PAID if name in bank.view]
    wheres = {name: f"kind = '{ANSWER}' AND verdict = '{name}'" for name in ("good", "bad", "cut")}
    verdicts = {name: sum(one.count(where) for one in calls) for name, where in wheres.items()}
    return {"release": bank.release.name, **dataclasses.asdict(ledger(*calls)), "answers": verdicts}


def _ledger_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"{facts['calls']:,} calls paid by release {facts['release']}"
    yield f"  tokens   {facts['prompt_tokens']:,} of prompts, {facts['answer_tokens']:,} of answers"
    yield f"  money    {facts['money']:,.4f} by the prices of the recipe"
    yield f"  seconds  {facts['seconds']:,.1f} of waiting, requests at once added up"
    yield f"  answers  {', '.join(f'{count:,} {name}' for name, count in facts['answers'].items())}"
    if facts["uncounted"]:
        yield f"  of {facts['uncounted']:,} calls the server stated no tokens; upper bounds stand for them"
