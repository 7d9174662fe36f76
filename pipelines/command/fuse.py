"""`mnemic fuse`."""

from __future__ import annotations

import argparse
import json

from mnemic.difference.banks import opened
from mnemic.terminal import say
from pipelines.command.plan import shown as shown_plan
from pipelines.engine import ENGINES, choose_engine
from pipelines.evaluate.fusion import shown
from pipelines.fuse import common_memories, fuse, fused_recipe
from pipelines.plan import plan
from pipelines.progress import TerminalLines

SUMMARY = "trains one memory on the documents of several banks, and compares it with theirs"

EXAMPLES = """  mnemic fuse memory/ours memory/theirs --into memory/both --dry-run
  mnemic fuse memory/ours memory/theirs --into memory/both
  mnemic fuse memory/ours memory/theirs --into memory/both --memory mlp --json    builds nothing that is there"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "banks", metavar="BANK[@RELEASE]", nargs="+", help="two or more banks; settings are the first's"
    )
    parser.add_argument("--into", metavar="BANK", required=True, help="where the bank of all is kept")
    parser.add_argument(
        "--memory", metavar="NAME", action="append", help="a memory to compare (default: all that the banks share)"
    )
    parser.add_argument("--engine", choices=ENGINES, help="as for `build`")
    parser.add_argument("--device", help="as for `build`")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and build nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    banks, into, memories = arguments.banks, arguments.into, arguments.memory
    if arguments.dry_run:
        common_memories([opened(bank) for bank in banks], memories)
        say(shown_plan(plan(fused_recipe(banks, into), device=arguments.device)))
        return 0
    sinks = [] if arguments.json else [TerminalLines()]
    engine = choose_engine(arguments.engine)
    fusion = fuse(banks, into, memories, engine=engine, device=arguments.device, sinks=sinks)
    bank = fusion.result.bank
    if arguments.json:
        say(json.dumps({"bank": bank, "memories": [one.as_json() for one in fusion.memories]}))
    else:
        say("\n".join(shown(one, bank) for one in fusion.memories))
    return 0
