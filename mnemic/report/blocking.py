"""The effect of blocking topics, as `mnemic eval --blocks` measures it: a table of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mnemic.errors import QueryError
from mnemic.report.page import in_words, paragraph, table

_COMPARED = ("fetched", "blocked", "effect")
_HEADS = ["topic", "documents", "without memory", "with its blocks", "blocked", "blocked / with its blocks"]


def blocked_table(rows: Any, part: str, most: int) -> str:
    """At most so many of the ``rows`` of a held-out ``part``. Raises `QueryError` where they are of another form."""
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise QueryError(
            "The evaluation's blocked topics are of another form than this mnemic writes; write it anew with `mnemic "
            "eval BANK --blocks --json`."
        )
    if not rows:
        return ""
    sentence = f"Perplexity of {part} where their topic is blocked, with 95 % intervals."
    return paragraph(sentence) + table(_HEADS, [_row(one) for one in rows[:most]], "as a table")


def _row(one: Mapping[str, Any]) -> Sequence[object]:
    values = [one["base"], one["fetched"]["perplexity"], one["blocked"]["perplexity"], one["effect"]["ratio"]]
    shown = [in_words(_interval(value, 3 if value is values[-1] else 2)) for value in values]
    return (f"{one['node']} {one['label']}".strip() or "all topics, each alone", one["documents"], *shown)


def _interval(one: Mapping[str, Any], digits: int) -> str:
    return f"{one['value']:.{digits}f} ({one['low']:.{digits}f} to {one['high']:.{digits}f})"


def _is_row(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in ("node", "label"))
        and isinstance(one.get("documents"), int)
        and _is_interval(one.get("base"))
        and all(_is_comparison(one.get(name)) for name in _COMPARED)
    )


def _is_comparison(one: Any) -> bool:
    return isinstance(one, dict) and all(_is_interval(one.get(name)) for name in ("perplexity", "ratio"))


def _is_interval(one: Any) -> bool:
    return isinstance(one, dict) and all(
        isinstance(one.get(name), int | float) and math.isfinite(one[name]) for name in ("value", "low", "high")
    )
