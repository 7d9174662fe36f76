"""The decision about a document, explained: every rule with value and threshold, and the questions that stand in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mnemic.arrays import Floats
from mnemic.canaries import PLANTED, SOURCE
from mnemic.conditions.values import text
from mnemic.rules import Rule, judge
from mnemic.rules.rule import reason_unjudged, rules_of
from mnemic.rules.values import CONTAMINATED, OF_COLUMNS, values_of
from mnemic.terminal import one_line, plain
from mnemic.view import View


def rules_in_force(view: View) -> tuple[Rule, ...]:
    """The rules by which the release decided, in their order; none where it has no decisions."""
    stored: Sequence[Mapping[str, Any]] = view.record("curate").get("found", {}).get("rules", [])
    return rules_of(stored)


def explained(view: View, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the rules of the release say of the document ``row``, with ``story``, lines for a person.

    Empty where the release has no decisions.
    """
    decision, statistics = row.get("decision"), row.get("statistics")
    if decision is None or statistics is None:
        return {}
    matches = matches_of(view, row["id"])
    rules = rules_in_force(view)
    canary = row["source"] == SOURCE and SOURCE in view
    verdicts = judge(rules, _values(view, row["id"], len(matches), rules, canary))
    late = row["perplexity"] if row.get("perplexity") and row["perplexity"]["rule"] else None
    lines = [_outcome(late or decision), *_measured(row)]
    rows = []
    for place, rule in enumerate(rules):
        value, fired = float(verdicts.values[0, place]), bool(verdicts.fired[0, place])
        unjudged = bool(verdicts.unjudged[0, place])
        note = _unjudged(rule, statistics, canary) if unjudged else "drops" if fired else "passes"
        rows.append(
            {
                **rule.as_json(),
                "value": None if math.isnan(value) else value,
                "fired": fired,
                "note": note,
            }
        )
        bound = "at least" if rule.sense == "min" else "at most"
        shown = "" if unjudged else f"{value:.4g}, {bound} {rule.threshold:g}"
        lines.append(f"    {note:<7} {plain(rule.name)}: {plain(rule.expression)} {shown}".rstrip())
    lines += [
        f"  characters {match['start']:,} to {match['end']:,} stand in question {one_line(match['question'], 60)} of "
        f"{plain(match['set'])} ({match['share']:.0%} of it)"
        for match in matches[:20]
    ]
    lines += [
        f"  cut by {plain(edit['rule'])}, characters {edit['start']:,} to {edit['end']:,}: "
        f"{one_line(row['text'][edit['start'] : edit['end']], 80)}"
        for edit in (row.get("edits") or [])[:20]
    ]
    return {"decision": late or decision, "rules": rows, "contamination": matches, "story": lines}


def _unjudged(rule: Rule, statistics: Mapping[str, Any], canary: bool) -> str:
    """Why a rule does not judge a document."""
    return "not judged: it is a canary" if canary else reason_unjudged(rule, int(statistics.get("script", 0)))


def _values(view: View, document: str, matches: int, rules: Sequence[Rule], canary: bool) -> dict[str, Floats]:
    """The numbers of a document that ``rules`` name, float64 [1] each."""
    columns = ["source", "statistics", *(name for name in OF_COLUMNS if name in view.dataset("documents").schema.names)]
    (batch,) = view.table("documents", columns, f"id = {text(document)}").combine_chunks().to_batches()
    names = {name for rule in rules for name in rule.formula.names} | ({PLANTED} if canary else set())
    return values_of(batch.append_column(CONTAMINATED, pa.array([float(matches)])), names)


def _measured(row: Mapping[str, Any]) -> list[str]:
    """What other columns than the statistics say of the document ``row``."""
    lines = []
    if language := row.get("language"):
        score = f"{language['score']:.3f}; the next {language['second']:.3f}"
        lines.append(f"  language {plain(language['language'])} ({score})")
    if (judged := row.get("perplexity")) and judged["perplexity"] is not None:
        lines.append(f"  perplexity {judged['perplexity']:,.1f}")
    if row.get("quality") is not None:
        lines.append(f"  quality {row['quality']:.3f}")
    lines += [
        f"  personal data ({plain(span['kind'])}), characters {span['begin']:,} to {span['end']:,}"
        for span in (row.get("pii") or [])[:20]
    ]
    return lines


def matches_of(view: View, document: str) -> list[dict[str, Any]]:
    """Rows of `contamination` of a document, in reading order."""
    if "contamination" not in view:
        return []
    rows: list[dict[str, Any]] = view.table("contamination", where=f"document = {text(document)}").to_pylist()
    return sorted(rows, key=lambda row: (row["start"], row["end"], row["set"], row["question"]))


def chosen(row: Mapping[str, Any]) -> list[str]:
    """Lines for a person about the subset of documents; none where there is no subset."""
    subset = row.get("subset")
    if subset is None:
        return []
    methods = {"leaves": "of its leaf", "random": "at random"}
    ways = [words for method, words in methods.items() if subset[method]]
    unused = "" if subset["trained"] else "; nothing is trained on it, unless it is held out"
    return [f"  of the subset: taken {' and '.join(ways) or 'neither of its leaf nor at random'}{unused}"]


def _outcome(decision: Mapping[str, Any]) -> str:
    if not decision["rule"]:
        return "  no rule drops it"
    others = [name for name in decision["rules"] if name != decision["rule"]]
    more = f"; {plain(', '.join(others))} would too" if others else ""
    return (
        f"  dropped by the rule {plain(decision['rule'])}: {decision['value']:.4g}, and the threshold is "
        f"{decision['threshold']:g}{more}"
    )
