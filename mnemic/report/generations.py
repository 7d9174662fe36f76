"""Texts continued with and without memories, as `mnemic.continued` makes them: a part of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mnemic.continued import CONTINUED, MOST_MEMORIES, title
from mnemic.errors import QueryError
from mnemic.report.escape import escaped
from mnemic.report.figures import bars
from mnemic.report.page import ReportPart, paragraph, table
from mnemic.splits import STORED

_TEXTS = 40
_GROUPS = (
    (
        "Texts that the memories hold",
        "Of the prose in the store the texts that the model alone expects least: examples, and no measure.",
    ),
    (
        "Texts that no memory has learnt from",
        "Held-out texts. Memories of texts themselves, such as the suffix index and pages, hold them and are left out.",
    ),
    ("Prompts", "Nobody knows how these go on."),
)


def generations_part(evaluation: Mapping[str, Any]) -> ReportPart:
    """Each text with its continuations. Raises `QueryError` where they are of another form than is written here."""
    texts = evaluation.get("continuations") or []
    if not isinstance(texts, list | tuple) or not all(map(_is_text, texts)):
        raise QueryError(
            "The evaluation's continuations are of another form than this mnemic writes; write it anew with `mnemic "
            "eval BANK --generate --json`."
        )
    html = ""
    for (head, sentence), some in zip(_GROUPS, _grouped(texts[:_TEXTS]), strict=True):
        if some:
            html += f"<h3>{escaped(head)}</h3>{paragraph(sentence, quiet=True)}{_hits(some)}"
            html += "".join(map(_text, some))
    if html:
        words = "What the language model says alone and with each memory; the likeliest token is always taken."
        html = paragraph(words) + html
    return ReportPart("Generations", html)


def _grouped(texts: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], ...]:
    """Of the store, held out, of somebody's prompts."""
    return (
        [one for one in texts if one["part"] == STORED],
        [one for one in texts if one["part"] not in (STORED, "")],
        [one for one in texts if not one["part"]],
    )


def _hits(texts: list[dict[str, Any]]) -> str:
    """How many tokens are those of the texts, alone and with each memory, where it is known how the texts go on."""
    hits: dict[str, tuple[int, int]] = {}
    for one in texts:
        for output in one["generated"] if one["tokens"] else ():
            met, tokens = hits.get(output["memory"], (0, 0))
            hits[output["memory"]] = (met + output["hits"], tokens + one["tokens"])
    if not hits:
        return ""
    rows = [(_with(name), met / tokens, f"{met} of {tokens}") for name, (met, tokens) in hits.items()]
    return bars(rows, "Tokens that are those of the text, alone and with each memory.")


def _text(one: Mapping[str, Any]) -> str:
    rows = [("begins", one["prompt"]), *([("goes on there", one["text"])] if one["tokens"] else [])]
    for output in one["generated"]:
        hits = f", {output['hits']} of {one['tokens']} tokens" if one["tokens"] else ""
        rows.append((f"{_with(output['memory'])}{hits}", output["text"]))
    place = paragraph(one["locator"], quiet=True) if one["locator"] else ""
    return place + table(["", "text"], rows)


def _with(memory: str) -> str:
    return f"with {title(memory)}" if memory else "alone"


def _is_text(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(isinstance(one.get(name), str) for name in ("part", "locator", "prompt", "text"))
        and _is_count(one.get("tokens"))
        and isinstance(one.get("generated"), list | tuple)
        and len(one["generated"]) <= MOST_MEMORIES + 1
        and all(map(_is_output, one["generated"]))
    )


def _is_output(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("memory"), str)
        and isinstance(one.get("text"), str)
        and _is_count(one.get("hits"))
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= CONTINUED
