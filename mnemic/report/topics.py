"""Gains of topics' blocks on held-out documents, as `mnemic eval --blocks` measures them: a part of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mnemic.errors import QueryError
from mnemic.report.blocking import blocked_table
from mnemic.report.figures import differences
from mnemic.report.page import ReportPart, in_words, paragraph, table

_ROWS = 40
_TYPES: dict[str, type | tuple[type, ...]] = {
    "node": str,
    "label": str,
    "documents": int,
    "tokens": int,
    "base": (int, float),
    "fetched": (int, float),
}


def topics_part(evaluation: Mapping[str, Any]) -> ReportPart:
    """The gain of each topic, largest first. Raises `QueryError` where the numbers are of another form."""
    html = ""
    for part, topics, blocked in _parts(evaluation.get("blocks")):
        ordered = sorted(topics, key=lambda one: (one["fetched"] - one["base"], one["node"]))[:_ROWS]
        better = sum(one["fetched"] < one["base"] for one in topics)
        sentence = (
            f"Blocks of its topic lower the loss of {better} of {len(topics)} topics; {part}, in nats a token, with as "
            "much as they take away."
        )
        drawn = [(_name(one), one["base"] - one["fetched"], f"{one['base'] - one['fetched']:+.3f}") for one in ordered]
        rows = [
            (
                _name(one),
                one["documents"],
                one["tokens"],
                in_words(f"{one['base']:.3f}"),
                in_words(f"{one['fetched']:.3f}"),
            )
            for one in ordered
        ]
        html += paragraph(sentence) + differences(drawn, sentence)
        html += table(["topic", "documents", "tokens", "without", "with its blocks"], rows, "as a table")
        html += blocked_table(blocked, part, _ROWS)
    return ReportPart("Gain by topic", html)


def _parts(blocks: Any) -> Iterator[tuple[str, list[dict[str, Any]], Any]]:
    """Words for each held-out part, its topics, and the effect of blocking them.

    Raises `QueryError` where topics are of another form.
    """
    for one in blocks if isinstance(blocks, list) else []:
        topics = one.get("topics") if isinstance(one, dict) else None
        if not isinstance(topics, list) or not all(map(_is_topic, topics)):
            raise QueryError(
                "The evaluation's topics are of another form than this mnemic writes; write it anew with `mnemic eval "
                "BANK --blocks --json`."
            )
        if topics:
            words = "held-out documents" if one.get("part") == "document" else "documents of held-out collections"
            yield words, topics, one.get("blocked", [])  # evaluations of before have none


def _is_topic(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(name), kind) for name, kind in _TYPES.items())
        and all(math.isfinite(one[name]) for name in ("base", "fetched"))
    )


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['node']} {one['label']}".strip()
