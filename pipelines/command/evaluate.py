"""`mnemic eval`."""

from __future__ import annotations

import argparse
import json

from pipelines.evaluate import PARTS, Evaluation, evaluate

EXAMPLES = """  mnemic eval memory/python-environment
  mnemic eval memory/python-environment --json"""

NAMES = {"knn-lm": "base + kNN-LM", "mlp": "base + MLP memory"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    found = evaluate(arguments.bank, release=arguments.release)
    print(json.dumps(found.as_json()) if arguments.json else shown(found))
    return 0


def _shares(found: Evaluation) -> list[tuple[str, float]]:
    """Of how often a text may repeat, the shares that are not nothing."""
    return [(n, share) for n, share in found.repetition["share_over"].items() if share > 0]


def shown(found: Evaluation) -> str:
    """An evaluation as lines for a person."""
    lines = [f"{found.bank}  release {found.release}  corpus {found.digest}", ""]
    lines += [f"  {name:<20} {count:>12,}" for name, count in found.funnel.items()]
    shares = [f"{share:.1%} more than {'once' if n == '1' else n + ' times'}" for n, share in _shares(found)]
    lines += ["", f"repetition: of the text before deduplication {', '.join(shares)}"] if shares else []
    if not found.weights:
        lines += ["", "no parametric memory: the recipe names no `language_model`, so there is no perplexity to tell"]
        return "\n".join(lines)
    weights = ", ".join(f"{NAMES[name]} {weight:g}" for name, weight in found.weights.items())
    lines += ["", f"mixing weights chosen on validation text: {weights}"]
    if not found.perplexities:
        lines.append("no text was held out for a test; give the recipe more text, or lower `split.min_characters`")
    for part in found.perplexities:
        lines += ["", f"perplexity on {PARTS[part.part]} ({part.documents} documents, {part.tokens:,} tokens)"]
        lines.append(f"  {'base':<20} {part.base:8.2f}")
        for name, comparison in part.comparisons.items():
            own, ratio = comparison.perplexity, comparison.ratio
            lines.append(
                f"  {NAMES[name]:<20} {own.value:8.2f}   95 % {own.low:.2f} to {own.high:.2f}; "
                f"times base {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
            )
    return "\n".join(lines)
