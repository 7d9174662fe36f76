"""The way of a text into a model: text, pages, cartridges and memory tokens, facts and their edits, parameters.

Each row names what it was made of, so it is found from its source, and a removal of the source takes it along. What
cannot be taken out of trained parameters is told by `mnemic.removals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from mnemic.conditions.values import text
from mnemic.rewrites.statement import PLACE
from mnemic.terminal import one_line
from mnemic.view import View, fitting

_PAGES = ("id", "event", "part", "behind", "tokens", "rows", "bits", "passed")
_CARTRIDGES = ("of", "level", "tokens", "rows", "start", "steps", "ok")
_TOKENS = ("of", "level", "tokens", "vectors", "exact")
_STATEMENTS = ("id", "subject", "relation", "target", "sets", "documents", "origin")
_EDITS = ("id", "layer", "method", "rank", "statements")
_MOMENTS = ("id", "layer", "part", "tokens")

_FACTS_SHOWN = 20


@dataclass(frozen=True)
class Descendants:
    """The rows that were made of a document or event, without keys, values and vectors.

    A cartridge's ``pages`` are those of this source that it started from. ``statements``, ``edits`` and ``key_moments``
    name documents, so those of an event are those of its document.
    """

    pages: tuple[Mapping[str, Any], ...] = ()
    cartridges: tuple[Mapping[str, Any], ...] = ()
    memory_tokens: tuple[Mapping[str, Any], ...] = ()
    statements: tuple[Mapping[str, Any], ...] = ()
    edits: tuple[Mapping[str, Any], ...] = ()
    key_moments: tuple[Mapping[str, Any], ...] = ()

    def facts(self) -> dict[str, list[dict[str, Any]]]:
        """The rows by dataset, as values of JSON."""
        rows = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: [dict(row) for row in some] for name, some in rows.items() if some}

    def story(self) -> list[str]:
        """A line for the pages, one for each cartridge and memory token, and those of facts."""
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
        return [*lines, *self._story_of_facts()]

    def _story_of_facts(self) -> Iterator[str]:
        """A line for each of the first facts, one for the edits, and one for the moments of keys."""
        for row in self.statements[:_FACTS_SHOWN]:
            sentence = f"{row['relation'].replace(PLACE, row['subject'])} {row['target']}"
            yield f"  fact {row['id'][:12]}: {one_line(sentence, 96)}"
        if more := self.statements[_FACTS_SHOWN:]:
            yield f"  {_count(len(more), 'more fact')}"
        own = {row["id"] for row in self.statements}
        for solved, layers in _by_solve(self.edits).items():
            blocks = f"{'block' if len(layers) == 1 else 'blocks'} {', '.join(map(str, layers))}"
            yield f"  edits of {blocks}: {len(own.intersection(solved)):,} of their {_count(len(solved), 'fact')}"
        if self.key_moments:
            blocks = _count(len({row["layer"] for row in self.key_moments}), "block")
            yield f"  its keys are counted in the moments of {blocks}, by which edits leave other text as it is"


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
    by_document = f"array_has(documents, {own if kind == 'document' else text(row['document'])})"
    return Descendants(
        tuple(pages),
        tuple(cartridges),
        tuple(_rows(view, "memory_tokens", _TOKENS, mine, ("level", "of"))),
        tuple(_rows(view, "statements", _STATEMENTS, by_document, ("id",))),
        tuple(_rows(view, "edits", _EDITS, by_document, ("layer", "id"))),
        tuple(_rows(view, "key_moments", _MOMENTS, by_document, ("layer", "part", "id"))),
    )


def _by_solve(edits: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[int]]:
    """Layers by the facts that were solved together."""
    solves: dict[tuple[str, ...], list[int]] = {}
    for row in edits:
        solves.setdefault(tuple(row["statements"]), []).append(row["layer"])
    return solves


def _rows(view: View, name: str, columns: Sequence[str], where: str, order: Sequence[str]) -> list[dict[str, Any]]:
    if name not in view:
        return []
    with fitting(view, f"The dataset {name}"):
        there = [column for column in columns if column in view.dataset(name).schema.names]
        rows: list[dict[str, Any]] = view.table(name, there, where).to_pylist()
    return sorted(rows, key=lambda row: tuple(row[column] for column in order))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
