"""`mnemic compose`."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from mnemic.bank import open_bank
from mnemic.errors import RecipeError
from mnemic.funnel import funnel
from mnemic.terminal import say
from pipelines.command.plan import shown
from pipelines.compose import composition
from pipelines.engine import ENGINES, choose_engine
from pipelines.plan import plan
from pipelines.progress import TerminalLines
from pipelines.run import build

SUMMARY = "builds a bank of the documents of several others, which says of each where it is from"

EXAMPLES = """  mnemic compose memory/ours memory/theirs --into memory/both --dry-run
  mnemic compose memory/ours memory/theirs@2026.11 --into memory/both
  mnemic compose memory/ours memory/theirs --into memory/both --write both.yaml    and builds it with `mnemic build`"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "banks", metavar="BANK[@RELEASE]", nargs="+", help="two or more banks; settings are the first's"
    )
    parser.add_argument("--into", metavar="BANK", required=True, help="where the new bank is kept")
    parser.add_argument("--write", metavar="FILE", help="also write the recipe of the new bank")
    parser.add_argument("--engine", choices=ENGINES, help="as for `build`")
    parser.add_argument("--device", help="as for `build`")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and build nothing")


def run(arguments: argparse.Namespace) -> int:
    recipe = composition(arguments.banks, arguments.into)
    if arguments.write:
        try:
            Path(arguments.write).write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise RecipeError(f"{arguments.write} cannot be written ({reason}); name another file.") from error
    if arguments.dry_run:
        say(shown(plan(recipe, device=arguments.device)))
        return 0
    engine = choose_engine(arguments.engine)
    result = build(recipe, engine=engine, device=arguments.device, sinks=[TerminalLines()])
    counts = "  ".join(f"{name} {count:,}" for name, count in funnel(open_bank(result.bank)).items())
    release = "" if result.release is None else result.release.name
    say(f"{counts}\nrelease {release} of {result.bank}: {len(arguments.banks)} banks are one")
    return 0
