"""`mnemic repair`."""

from __future__ import annotations

import argparse
import json
import os
import uuid

from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.repair import Loss, losses, repair
from mnemic.terminal import say

SUMMARY = "lets a bank that cannot be read go back to versions whose files are all there"

EXAMPLES = """  mnemic repair memory/notes --dry-run    what is wrong, and what would be lost; nothing is changed
  mnemic repair memory/notes              then build: what was lost is made again
  mnemic repair memory/notes --deep       also where a file holds other bytes than its release wrote"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument("--deep", action="store_true", help="hash every file and compare it with the release's")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """The exit code of a dry run says whether anything is wrong."""
    store = Store(os.path.expanduser(arguments.bank) if "://" not in arguments.bank else arguments.bank)
    if arguments.dry_run:
        lost = losses(store, arguments.deep)
    else:
        lost = repair(store, f"repair-{uuid.uuid4().hex[:6]}", arguments.deep)
    say(json.dumps(_facts(store, lost, arguments.dry_run)) if arguments.json else _shown(store, lost, arguments))
    return BankError.exit_code if lost and arguments.dry_run else 0


def _facts(store: Store, lost: list[Loss], dry: bool) -> dict[str, object]:
    names = ("dataset", "fault", "version", "releases", "rows")
    losses = [{**{name: getattr(loss, name) for name in names}, "story": str(loss)} for loss in lost]
    return {"bank": store.root, "repaired": not dry, "losses": losses}


def _shown(store: Store, lost: list[Loss], arguments: argparse.Namespace) -> str:
    if not lost:
        hint = "" if arguments.deep else "; --deep compares the bytes of its files too"
        return f"{store.root}: the newest versions can be read, and nothing is to be repaired{hint}"
    end = (
        "nothing was changed; the same command without --dry-run does it"
        if arguments.dry_run
        else "repaired; now run `mnemic build` with the bank's recipe"
    )
    return "\n".join([*(str(loss) for loss in lost), f"{store.root}: {end}"])
