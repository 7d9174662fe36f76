"""`mnemic build`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from mnemic.bank import open_bank
from mnemic.funnel import dues, funnel
from mnemic.terminal import say
from pipelines.engine import ENGINES, choose_engine
from pipelines.live import duration
from pipelines.options import BuildOptions
from pipelines.progress import JsonLog, ProgressEvent, Sink, TerminalLines
from pipelines.recipe import load_recipe
from pipelines.run import BuildResult, build

SUMMARY = "run a recipe; carries on where the last build ended"
EXAMPLES = """  mnemic build recipe.yaml
  mnemic build demo --bank memory/demo --log build.jsonl
  mnemic build recipe.yaml --until embed     stop after a step; the next build carries on
  mnemic build recipe.yaml --from cluster    those before it are left alone; refused where they have work left
  mnemic build recipe.yaml --only embed      one step, without a release
  mnemic build recipe.yaml --anew teacher    compute a step again although nothing changed
  mnemic build recipe.yaml --engine ray --workers 8
  mnemic build recipe.yaml --address head:6379    on a Ray cluster; RAY_AUTH_TOKEN is its secret"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or the name of a shipped recipe")
    parser.add_argument("--bank", help="another place than the recipe's")
    parser.add_argument("--from", metavar="STEP", dest="begin", help="begin with this step; those before it are done")
    parser.add_argument("--until", metavar="STEP", help="stop after this step, without a release")
    parser.add_argument("--only", metavar="STEP", help="run this step alone, without a release")
    parser.add_argument("--replace", action="store_true", help="take over a bank that belongs to another recipe")
    parser.add_argument(
        "--rebalance",
        action="store_true",
        help="--anew deduplicate: by default documents of earlier releases stay",
    )
    parser.add_argument(
        "--recluster",
        action="store_true",
        help="--anew cluster: by default events join the tree there is",
    )
    parser.add_argument(
        "--anew", metavar="STEP", action="append", default=[], help="compute a step again although nothing changed"
    )
    parser.add_argument("--engine", choices=ENGINES, help="default: $MNEMIC_ENGINE, else ray where it is installed")
    parser.add_argument("--address", help="a Ray cluster (default: $RAY_ADDRESS, else Ray is started on this machine)")
    parser.add_argument("--workers", type=int, metavar="N", help="most Ray workers of a step (default: what fits)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--commit-every", type=int, default=16, metavar="N", help="fragments in a commit (default 16)")
    parser.add_argument("--log", metavar="FILE", help="append one JSON object per event to FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    sinks: list[Sink] = []
    if arguments.log:
        sinks.append(JsonLog(arguments.log))
    with contextlib.ExitStack() as stack:
        if not arguments.quiet:
            sinks.append(stack.enter_context(TerminalLines()))
        if threading.current_thread() is threading.main_thread():
            sinks.append(stack.enter_context(Interruption()))
        options = BuildOptions(
            bank=arguments.bank,
            engine=choose_engine(arguments.engine, arguments.address, arguments.workers),
            device=arguments.device,
            replace=arguments.replace,
            anew=arguments.anew,
            rebalance=arguments.rebalance,
            recluster=arguments.recluster,
            begin=arguments.begin,
            until=arguments.until,
            only=arguments.only,
            commit_every=arguments.commit_every,
            sinks=sinks,
        )
        result = build(arguments.recipe, options)
    if arguments.json:
        say(json.dumps(_facts(result), default=str))
    else:
        say(_shown(result, load_recipe(arguments.recipe).connection))
    return 0


class Interruption:
    """A sink, and a context manager, that stops the build on Ctrl-C or SIGTERM, even where the exception was lost.

    Python drops an exception that is raised while a destructor runs (a library's import has many); the next event
    raises it again.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> Interruption:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = True
        raise KeyboardInterrupt

    def __call__(self, event: ProgressEvent) -> None:
        if self._asked and event.kind in ("step-start", "fragment", "progress"):
            raise KeyboardInterrupt


def _facts(result: BuildResult) -> dict[str, Any]:
    return {**dataclasses.asdict(result), "release": result.release.name if result.release else None}


def _shown(result: BuildResult, storage_options: Mapping[str, str] | None) -> str:
    if not result.steps:
        return f"nothing to do: {result.bank} is up to date (release {result.release.name if result.release else '-'})"
    lines = []
    if result.steps[-1].step == "release":
        bank = open_bank(result.bank, storage_options=storage_options)
        lines.append("  ".join(f"{name} {count:,}" for name, count in funnel(bank).items()))
    lines.append("seconds: " + "  ".join(f"{step.step} {step.seconds:.1f}" for step in result.steps))
    if result.steps[-1].step == "release" and result.release is not None:
        lines += dues(result.release.lineage)
        expected = f" ({duration(result.expected)} were expected)" if result.expected else ""
        lines.append(f"release {result.release.name} of {result.bank} after {duration(result.seconds)}{expected}")
    else:
        lines.append(
            f"stopped after {result.steps[-1].step}; no release written. The same command without --until and --only "
            "carries on."
        )
    return "\n".join(lines)
