"""`mnemic fuse`."""

from __future__ import annotations

import argparse
import json

from mnemic.bank import open_bank
from mnemic.difference.banks import opened
from mnemic.terminal import say
from pipelines.command.plan import shown as shown_plan
from pipelines.engine import ENGINES, choose_engine
from pipelines.evaluate.fusion import shown
from pipelines.fuse import common_memories, fused_recipe, measured
from pipelines.plan import plan
from pipelines.progress import TerminalLines
from pipelines.run import build

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
    names = common_memories([opened(bank) for bank in arguments.banks], arguments.memory)
    recipe = fused_recipe(arguments.banks, arguments.into)
    if arguments.dry_run:
        say(shown_plan(plan(recipe, device=arguments.device)))
        return 0
    sinks = [] if arguments.json else [TerminalLines()]
    result = build(recipe, engine=choose_engine(arguments.engine), device=arguments.device, sinks=sinks)
    union = open_bank(result.bank)
    memories = [measured(union, arguments.banks, name) for name in names]
    if arguments.json:
        say(json.dumps({"bank": union.path, "memories": [one.as_json() for one in memories]}))
    else:
        say("\n".join(shown(one, union.path) for one in memories))
    return 0
