"""`mnemic tune`."""

from __future__ import annotations

import argparse
import json

from mnemic.bank import open_bank
from mnemic.facts import consistent
from mnemic.terminal import plain, say
from pipelines.evaluate.thresholds import TriedThresholds, tuned

SUMMARY = "try thresholds of rules: which of them make a better store of equal size"
EXAMPLES = """  mnemic tune memory/notes --over short_line_ratio --over few_letters
  mnemic tune memory/notes --over few_words --budget 50 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--over", metavar="RULE", action="append", required=True, help="a rule of the bank; repeatable")
    parser.add_argument("--budget", type=int, default=20, help="sets of thresholds that are tried (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the thresholds and of the stores (default 0)")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    with consistent("The rows and records", arguments.bank):
        outcome = tuned(bank, arguments.over, max(1, arguments.budget), arguments.seed)
    if arguments.json:
        say(json.dumps({"bank": bank.path, "release": bank.release.name, **outcome.as_json()}))
    else:
        say(f"{bank.path}  release {bank.release.name}\n\n{shown_trials(outcome)}")
    return 0


def shown_trials(outcome: TriedThresholds) -> str:
    """All trials as lines for a person, the best first, and what to write into the recipe."""
    lines = [
        f"stores of {outcome.rows:,} rows each, asked as kNN-LM; perplexity on validation text (without: "
        f"{outcome.base:.2f})",
        f"  {'perplexity':>10} {'weight':>6} {'pass':>6}  thresholds",
    ]
    for trial in sorted(outcome.trials, key=lambda one: (one.perplexity, one.number)):
        thresholds = ", ".join(f"{plain(name)} {value:g}" for name, value in trial.thresholds.items())
        lines.append(
            f"  {trial.perplexity:>10.3f} {trial.weight:>6.2f} {trial.passing:>6.1%}  {thresholds or 'none (control)'}"
        )
    lines.append("")
    if outcome.test is not None:
        one = outcome.test.difference
        lines.append(
            f"best on test text: {outcome.test.perplexity.value:.3f}, {one.value:+.3f} against the control "
            f"(95 % {one.low:+.3f} to {one.high:+.3f})"
        )
    if outcome.better:
        bounds = ", ".join(
            f"{plain(name)}: {{{outcome.senses[name]}: {value:g}}}" for name, value in outcome.best.thresholds.items()
        )
        lines.append(f"write below `curate`: `rules: {{{bounds}}}`")
    else:
        lines.append("that is no better than documents taken at random; leave the thresholds as they are")
    return "\n".join(lines)
