"""The way of a text into a model: text, pages, cartridges and memory tokens, parameters.

Each row names what it was made of, so it is found from its source, and a removal of the source takes it along. What
cannot be taken out of trained parameters is told by `mnemic.removals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnemic.conditions.values import text
from mnemic.view import View, fitting

_PAGES = ("id", "event", "part", "behind", "tokens", "rows", "bits", "passed")
_CARTRIDGES = ("of", "level", "tokens", "rows", "start", "steps", "ok")
_TOKENS = ("of", "level", "tokens", "vectors", "exact")


@dataclass(frozen=True)
class Descendants:
    """The rows that were made of a document or event, without keys, values and vectors.

    A cartridge's ``pages`` are those of this source that it started from.
    """

    pages: tuple[Mapping[str, Any], ...] = ()
    cartridges: tuple[Mapping[str, Any], ...] = ()
    memory_tokens: tuple[Mapping[str, Any], ...] = ()

    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """The rows by dataset, as values of JSON."""
        rows = {"pages": self.pages, "cartridges": self.cartridges, "memory_tokens": self.memory_tokens}
        return {name: [dict(row) for row in some] for name, some in rows.items() if some}

    def story(self) -> list[str]:
        """A line for the pages, and one for each cartridge and memory token."""
        lines = []
        if self.pages:
            events, refused = (
                len({row["event"] for row in self.pages if not passed or not row["passed"]}) for passed in (False, True)
            )
            loss = f"; {_count(refused, 'event')} lose more than their bound, and are read as text" if refused else ""
            tokens = sum(row["tokens"] for row in self.pages)
            lines.append(f"  {_count(len(self.pages), 'page')} of {_count(events, 'event')}, {tokens:,} tokens{loss}")
        for row in self.cartridges:
            start = {"picked": "rows of its text", "first": "the first rows of its text"}.get(row["start"])
            start = start or (f"{_count(len(row['pages']), 'page')} of it" if row["pages"] else "pages of others")
            trained = f"trained for {_count(row['steps'], 'step')}" if row["steps"] else "untrained"
            gate = "" if row["ok"] else "; it loses more than its bound, and is never attached"
            lines.append(
                f"  cartridge of the {row['level']} {row['of'][:12]}: {row['rows']} rows for {row['tokens']:,} tokens, "
                f"from {start}, {trained}{gate}"
            )
        for row in self.memory_tokens:
            exact = "exact" if row["exact"] else "not exact, and never rebuilt"
            lines.append(
                f"  memory token of the {row['level']} {row['of'][:12]}: {_count(row['vectors'], 'vector')} for "
                f"{row['tokens']:,} tokens, {exact}"
            )
        return lines


def descendants(view: View, kind: str, row: Mapping[str, Any]) -> Descendants:
    """What a release has of the ``row`` of a "document" or "event", as `mnemic.find.find` gives both."""
    own = text(row["id"])
    mine = f"array_has({kind}s, {own})"
    if kind == "event":  # a cartridge of a whole document names no events
        mine = f"({mine}) OR (level = 'document' AND of = {text(row['document'])})"
    pages = _rows(view, "pages", _PAGES, f"{kind} = {own}", ("event", "part"))
    ids = {row["id"] for row in pages}
    cartridges = _rows(view, "cartridges", (*_CARTRIDGES, "pages"), mine, ("level", "of"))
    for cartridge in cartridges:
        cartridge["pages"] = [page for page in cartridge.get("pages") or () if page in ids]
    return Descendants(
        tuple(pages), tuple(cartridges), tuple(_rows(view, "memory_tokens", _TOKENS, mine, ("level", "of")))
    )


def _rows(view: View, name: str, columns: Sequence[str], where: str, order: Sequence[str]) -> list[dict[str, Any]]:
    if name not in view:
        return []
    with fitting(view, f"The dataset {name}"):
        there = [column for column in columns if column in view.dataset(name).schema.names]
        rows: list[dict[str, Any]] = view.table(name, there, where).to_pylist()
    return sorted(rows, key=lambda row: tuple(row[column] for column in order))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
