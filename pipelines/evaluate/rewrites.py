"""What edits of a bank reach, and what the same facts reach as text in the prompt: of the prompts that were asked.

No model runs here: each was asked when the edits were solved. Intervals resample facts, neighbours and documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnemic.bank import Bank
from mnemic.memories.edits import NAME
from mnemic.rewrites.datasets import CONTROL, NEIGHBOUR, PARAPHRASE, PROMPT, TENANT, WAYS
from mnemic.rewrites.statement import solved_together
from pipelines.evaluate.bootstrap import Interval, document_sums, interval

_COLUMNS = ("kind", "statement", "text", "tokens", "kl", "kl_text", "state")


@dataclass(frozen=True)
class EditReport:
    """``answers`` have kind of prompt -> way -> share that is right: alone, edits, text. ``prompts`` counts them.

    ``kl`` and ``kl_text`` are nats from what the model alone says of neighbours, ``perplexity`` that of control
    documents by way. ``stale``: the edits are of other facts by now, since some were removed. ``bytes`` are of paths.
    """

    facts: int
    bytes: int
    stale: bool
    prompts: dict[str, int]
    answers: dict[str, dict[str, Interval]]
    kl: Interval | None
    kl_text: Interval | None
    perplexity: dict[str, float]


def edit_report(bank: Bank) -> EditReport | None:
    """None where the bank has no edits."""
    if NAME not in {info.name for info in bank.memories()} or "probes" not in bank.view:
        return None
    columns = [*_COLUMNS, *(f"{name}{way}" for name in ("right", "nats") for way in WAYS)]
    rows = bank.table("probes", columns).to_pylist()
    edits = bank.table(NAME, ["statements", "width", "rank", "hidden"]).to_pylist()
    whose = [name for name in ("id", TENANT.name) if name in bank.dataset("statements").schema.names]
    solves = solved_together(bank.table("statements", whose).to_pylist())
    groups = {kind: [row for row in rows if row["kind"] == kind] for kind in (PROMPT, PARAPHRASE, NEIGHBOUR)}
    answers = {
        kind: {way: _mean(some, f"right{way}", kind == NEIGHBOUR) for way in WAYS}
        for kind, some in groups.items()
        if some
    }
    near = groups[NEIGHBOUR]
    return EditReport(
        sum(map(len, solves)),
        sum(4 * row["rank"] * (row["width"] + row["hidden"]) for row in edits),
        not edits or {tuple(row["statements"]) for row in edits} != {*map(tuple, solves)},
        {kind: len(some) for kind, some in groups.items()},
        answers,
        _mean(near, "kl", True) if near else None,
        _mean(near, "kl_text", True) if near else None,
        _perplexity([row for row in rows if row["kind"] == CONTROL]),
    )


def _mean(rows: Sequence[dict[str, Any]], column: str, each: bool) -> Interval:
    """The mean over rows; its interval resamples facts, or with ``each`` the prompts themselves."""
    names = [row["text"] if each else row["statement"] for row in rows]
    owners = np.unique(names, return_inverse=True)[1]
    values = np.array([row[column] for row in rows], np.float64)
    sums, draws = document_sums(owners, 1000, 0, values)
    drawn = draws @ sums
    return interval(float(values.mean()), drawn[:, 0] / drawn[:, 1])


def _perplexity(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    tokens = sum(row["tokens"] for row in rows)
    return {
        way: float(np.exp(sum(row[f"nats{way}"] * row["tokens"] for row in rows) / tokens))
        for way in (WAYS if tokens else ())
    }


def shown_edits(report: EditReport | None) -> list[str]:
    """As lines for a person."""
    if report is None:
        return []
    one = report
    lines = ["", f"edits: {one.facts:,} facts as paths of {one.bytes / 1e6:,.2f} MB; right, with 95 % intervals"]
    if one.stale:
        lines.append("  facts were removed since they were measured; the next build measures those that stay")
    lines.append(f"  {'':<24} {'alone':>22} {'edits':>22} {'text in the prompt':>22}")
    names = {PROMPT: "prompts", PARAPHRASE: "paraphrases", NEIGHBOUR: "neighbours as before"}
    for kind, ways in one.answers.items():
        cells = "".join(f" {f'{v.value:.0%} ({v.low:.0%} to {v.high:.0%})':>22}" for v in ways.values())
        lines.append(f"  {f'{one.prompts[kind]:,} {names[kind]}':<24}{cells}")
    if one.kl is not None and one.kl_text is not None:
        cells = "".join(f" {f'{v.value:.3f} ({v.low:.3f} to {v.high:.3f})':>22}" for v in (one.kl, one.kl_text))
        lines.append(f"  {'KL of neighbours, nats':<24} {'0':>22}{cells}")
    if one.perplexity:
        cells = "".join(f" {value:>22.2f}" for value in one.perplexity.values())
        lines.append(f"  {'perplexity elsewhere':<24}{cells}")
    return lines
