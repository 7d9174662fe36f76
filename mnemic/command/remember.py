"""`mnemic remember`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from mnemic.bank import open_bank
from mnemic.errors import QueryError
from mnemic.inbox.calls import FILE_BYTES
from mnemic.inbox.waiting import WaitingCall
from mnemic.terminal import one_line, say

SUMMARY = "adds a text or a conversation: found by the next search, and a document of the next build"
EXAMPLES = """  mnemic remember memory/notes "The parser is Ada's since Monday."
  mnemic remember memory/chats "I mended it." --tenant team --speaker Ada --time 2026-03-02T09:30
  mnemic remember memory/chats --turns monday.jsonl --tenant team --key monday
  mnemic remember memory/notes < note.txt
  mnemic remember memory/notes --list                what waits for the next build"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("text", metavar="TEXT", nargs="?", help="what to remember; without it, the standard input")
    parser.add_argument(
        "--turns",
        metavar="FILE",
        help="turns of a conversation, a JSON object a line with text, speaker and time; or -",
    )
    parser.add_argument("--tenant", help="whose it is; with --list: only of this tenant")
    parser.add_argument("--speaker", help="who says it")
    parser.add_argument("--time", help="when it was said, as 2026-03-02T09:30 (default: now)")
    parser.add_argument("--key", help="makes repeating harmless: the same key is the same text, and stored once")
    parser.add_argument("--list", action="store_true", help="show what waits, and remember nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank)
    if arguments.list:
        calls = bank.inbox(arguments.tenant)
        if arguments.json:
            say(json.dumps({"release": bank.release.name, "waiting": [_facts(call) for call in calls]}, default=str))
            return 0
        for call in calls:
            say("\n".join(_lines(call)))
        rows = sum(len(call.rows) for call in calls)
        say(f"{rows:,} row{'s wait' if rows != 1 else ' waits'} for a build after release {bank.release.name}")
        return 0
    if arguments.text is not None and arguments.turns is not None:
        raise QueryError("Both a text and --turns are given; remember one of them at a time.")
    what: Any = arguments.text
    if arguments.turns is not None:
        what = list(_turns(_read(arguments.turns), arguments.turns))
    elif what is None:
        what = _read("-")
    ids = bank.remember(
        what, tenant=arguments.tenant, speaker=arguments.speaker, time=arguments.time, key=arguments.key
    )
    if arguments.json:
        say(json.dumps({"ids": ids}))
        return 0
    for one in ids:
        say(one)
    return 0


def _read(place: str) -> str:
    """The text of a file, or of the standard input for "-"; no more than a call may have is read."""
    name = "The standard input" if place == "-" else place
    try:
        if place == "-":
            data = sys.stdin.buffer.read(FILE_BYTES + 1)
        else:
            with open(place, "rb") as file:
                data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise QueryError(f"{name} has more than {FILE_BYTES:,} bytes; remember it in several calls.")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QueryError(f"{name} is not UTF-8 (byte {error.start}); convert it first.") from None
    except OSError as error:
        raise QueryError(
            f"{name} cannot be read ({error.strerror}); check the path, and your right to read it."
        ) from None


def _turns(text: str, place: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):  # other separators of lines may stand in a text
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            raise QueryError(
                f'Line {number} of {place} is no JSON; write {{"speaker": "Ada", "text": "I mended it."}}.'
            ) from None


def _facts(call: WaitingCall) -> dict[str, Any]:
    rows = [{"id": row.id, "speaker": row.speaker, "time": row.time, "text": row.text} for row in call.rows]
    return {"tenant": call.tenant, "remembered": call.remembered, "rows": rows}


def _lines(call: WaitingCall) -> Iterator[str]:
    tenant = f"  tenant {one_line(call.tenant, 60)}" if call.tenant else ""
    yield f"{call.remembered:%Y-%m-%d %H:%M}{tenant}"
    for row in call.rows:
        speaker = f"{one_line(row.speaker, 40)}: " if row.speaker else ""
        yield f"  {row.id}  {speaker}{one_line(row.text, 100)}"
