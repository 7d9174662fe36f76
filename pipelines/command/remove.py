"""`mnemic remove`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator

from mnemic.errors import QueryError
from mnemic.opening import open_regular
from mnemic.terminal import plain, say
from pipelines.progress import TerminalLines
from pipelines.upkeep.removal import Removed, readmit, remove

SUMMARY = "removes documents and all that was made of them; --erase: out of older releases and files too"

EXAMPLES = """  mnemic remove memory/notes --where "locator LIKE 'diary/%'" --dry-run    what would go
  mnemic remove memory/notes --tenant anna --erase                        with a proof that it is gone
  mnemic remove memory/notes --ids ids.txt                                an id on each line; - reads standard input
  mnemic remove memory/notes --again 20261130T031500-ab12cd               let the next build read them again"""

MOST_BYTES = 1 << 28
"""Of a file of ids."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--where", metavar="SQL", help="a condition over the columns of documents")
    parser.add_argument("--source", action="append", metavar="NAME", help="of this source; may be repeated")
    parser.add_argument("--tenant", action="append", metavar="NAME", help="of this tenant; may be repeated")
    parser.add_argument("--ids", metavar="FILE", help="documents whose ids, or their beginnings, stand in this file")
    parser.add_argument("--copies", action="store_true", help="and other documents with the same text")
    parser.add_argument("--erase", action="store_true", help="also out of older releases, caches and files")
    parser.add_argument("--again", metavar="NAME", help="undo for the next build: a removal, a document's id, or all")
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    selection = any((arguments.where, arguments.source, arguments.tenant, arguments.ids))
    if arguments.again is not None:
        if selection or arguments.copies or arguments.erase or arguments.dry_run:
            raise QueryError("--again stands alone: it undoes a removal and removes nothing. Leave the others out.")
        count = readmit(arguments.bank, arguments.again, sink=TerminalLines())
        sentence = f"{count:,} documents are let in again; the next build of {arguments.bank} reads them"
        say(json.dumps({"bank": arguments.bank, "readmitted": count}) if arguments.json else sentence)
        return 0
    outcome = remove(
        arguments.bank,
        arguments.where,
        source=arguments.source,
        tenant=arguments.tenant,
        ids=_ids(arguments.ids) if arguments.ids else None,
        copies=arguments.copies,
        erase=arguments.erase,
        dry_run=arguments.dry_run,
        sink=TerminalLines(),
    )
    say(json.dumps(outcome.as_json()) if arguments.json else "\n".join(_lines(outcome, arguments)))
    return 0


def _ids(name: str) -> list[str]:
    """The words of a file, or of standard input."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with open_regular(os.path.realpath(name)) as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise QueryError(f"{name} cannot be read ({error.strerror or error}). Give a file with ids.") from error
    if len(content) > MOST_BYTES:
        raise QueryError(f"{name} has more than {MOST_BYTES >> 20} MB; cut the list of ids into several files.")
    return content.decode("utf-8", "replace").split()


def _lines(outcome: Removed, arguments: argparse.Namespace) -> Iterator[str]:
    """The outcome as lines for a person."""
    for name, rows in outcome.datasets.items():
        yield f"  {name:<14} {rows:>12,} rows"
    for name, share in outcome.memories.items():
        then = "goes with them" if arguments.erase else "is stale until the next build trains it again"
        yield f"  memory {plain(name)}: {share:.2%} of its training was of them; it {then}"
    if outcome.again:
        yield f"  {outcome.again:,} duplicates of them are judged anew, and may be kept now"
    if outcome.copies:
        yield f"  {outcome.copies:,} other documents have the same text and stay; --copies takes them too"
    if outcome.ended:
        ends = "would end" if arguments.dry_run else "ended"
        yield f"  releases that {ends}: {', '.join(outcome.ended)}"
    if arguments.dry_run:
        yield f"{outcome.documents:,} documents of {outcome.bank} would go; nothing was changed"
    elif not outcome.release:
        yield f"nothing to do: no document of {outcome.bank} satisfies this"
    else:
        yield (
            f"release {outcome.release} of {outcome.bank} is without {outcome.documents:,} documents "
            f"(removal {outcome.removal}); `mnemic build` makes anew what is left to make"
        )
    if outcome.proof is not None:
        proof = outcome.proof
        yield (
            f"erased: of {proof.pieces:,} pieces of their texts {proof.before:,} stood in the bank before, and "
            f"{proof.after:,} stand in its {proof.files:,} files now ({proof.shared:,} that other documents have too "
            "are theirs)"
        )
