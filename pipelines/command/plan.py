"""`mnemic plan`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from mnemic.terminal import plain, say
from pipelines.effects import Effects
from pipelines.live import duration
from pipelines.plan import Plan, PlannedStep, plan

SUMMARY = "what a build would run, what is done and why"
EXAMPLES = """  mnemic plan recipe.yaml
  mnemic plan demo --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file, or the name of a shipped recipe")
    parser.add_argument("--bank", help="another place than the recipe's")
    parser.add_argument("--device", help="cpu or cuda, as for `build`; it sets the type that `dtype: auto` stands for")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    planned = plan(arguments.recipe, bank=arguments.bank, device=arguments.device)
    say(json.dumps(planned.as_json()) if arguments.json else shown(planned))
    return 0


def _rules(effects: Effects) -> Iterator[str]:
    """What each rule drops, as lines for a person."""
    of = f"a sample of {effects.judged:,} of {effects.documents:,}" if effects.sampled else f"{effects.documents:,}"
    yield f"rules drop {effects.dropped:,} documents ({effects.dropped / effects.judged:.1%}) of {of}"
    yield f"  {'rule':<28} {'alone':>8} {'first':>8} {'only':>8} {'share':>7}"
    for rule in effects.rules:
        between = "" if rule.interval is None else f"  {rule.interval[0]:.1%} to {rule.interval[1]:.1%}"
        unjudged = f"  not judged: {rule.unjudged:,}" if rule.unjudged else ""
        yield (
            f"  {plain(rule.rule):<28} {rule.alone:>8,} {rule.first:>8,} {rule.only:>8,} {rule.share:>7.1%}"
            f"{between}{unjudged}"
        )
    for rule in effects.rules:
        if rule.warning:
            yield f"  warning: {plain(rule.warning)}"


def shown(planned: Plan) -> str:
    """A plan as lines for a person."""
    lines = [f"bank {planned.bank}", ""]
    lines += [_line(step) for step in planned.steps]
    if planned.preset:
        lines += ["", *planned.preset]
    if planned.effects is not None:
        lines += ["", *_rules(planned.effects)]
    if planned.datasets:
        lines.append("")
        for name, (rows, size) in planned.datasets.items():
            lines.append(f"  {name:<12} {rows:>12,} rows  {size / 1e6:>10,.1f} MB")
    if planned.free_bytes is not None:
        lines.append(f"  {'free disk':<12} {planned.free_bytes / 1e9:>28,.1f} GB")
    lines.append("")
    lines += ["nothing to do"] if planned.nothing_to_do else _costs(planned)
    return "\n".join(lines)


def _costs(planned: Plan) -> Iterator[str]:
    """Time, memory and disk of the build, and what to know before it, as lines for a person."""
    cost = planned.cost
    by = "as builds here took" if cost.learnt else "by shipped rates; builds on this machine correct them"
    beside = f", {cost.crowding:.1f} times as long beside what runs here now" if cost.crowding >= 1.5 else ""
    starting = f", {duration(cost.starting)} of it until the first worker works" if cost.starting else ""
    yield f"about {duration(cost.seconds)} ({by}{beside}){starting}"
    yield f"about {cost.memory / 1e9:.1f} GB of memory, {_size(cost.disk)} of disk"
    if cost.unknown:
        yield f"not counted: {', '.join(map(plain, cost.unknown))}, of which nothing is known before its first run"
    if planned.free_bytes is not None and cost.disk > planned.free_bytes:
        yield "warning: the disk has not so much room; free some, or set `bank` to another place"
    for warning in cost.warnings:
        yield f"warning: {plain(warning)}"


def _size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 1):,.0f} MB"


def _line(step: PlannedStep) -> str:
    amount = (
        f"{step.todo:,} of {step.total:,} {step.unit}"
        if step.todo
        else (f"{step.total:,} {step.unit}" if step.total else "")
    )
    estimate = f"~{duration(step.seconds)}" if step.seconds else ""
    return f"  {step.step:<12} {step.kind:<8} {amount:<28} {estimate:<8} {'; '.join(step.reasons)}".rstrip()
