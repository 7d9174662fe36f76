"""A floor of content: a row that says nothing is never a result, however well its words match.

A corpus is cut into small rows, and some of them are nothing but a fence of code, a heading, a rule of dashes or
``>>> import lance``. They match the words of a question exactly, being nothing else. Vectors, indexes and ranking stay
as they are; such a row is passed over when the budget is filled.

The rule is of form alone, so that it holds in any language: what is left of a text without fences, headings, rules and
imports must hold a letter or a digit. Turns of a conversation are somebody's words, and "# 1!" is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnemic.dataset import Snapshot
from mnemic.dataset.index import read_rows
from mnemic.search.answer import Budget, hits_of
from mnemic.search.buffers import take
from mnemic.search.hybrid import Ranked
from mnemic.search.results import Hit
from mnemic.view import View

_HEADING = re.compile(r" {0,3}(#{1,6} .*[^.,;:]|#{1,6}|=+ .*[^.,;:]|\.\. [\w-]+::.*)")
_UNDERLINE = re.compile(r"\s*([=\-~^\"'*+_])\1{2,}\s*")
_LONE = 3
"""Headings in a row; more of them are a comment in code."""
_FENCE = re.compile(r"\s*(>\s?)*(```+|~~~+)[\w+#.{}-]*\s*")
_NAME = r"[\w.]+( as \w+)?"
_IMPORT = re.compile(
    rf"\s*+(>>>|\.\.\.|In \[\d*\]:)?\s*+(import {_NAME}(, *{_NAME})*|from [\w.]+ import [\w., *()]++)\s*+;?\s*+"
)
"""Its repetitions of spaces give nothing back, or a hostile line would take time by the cube of its length."""
_SMALL = 40
"""Words of rows that are judged together as soon as one says nothing; longer ones are judged when they are taken."""


def says_something(text: str, level: str = "event") -> bool:
    """Whether ``text``, of a row of ``level``, is more than fences, headings, rules and imports."""
    if level == "turn":
        return any(map(str.isalnum, text))
    lines = [line for line in text.splitlines() if any(map(str.isalnum, line)) or _UNDERLINE.fullmatch(line)]
    headings = 0
    for line, below in zip(lines, [*lines[1:], ""], strict=False):
        if _UNDERLINE.fullmatch(line) or _FENCE.fullmatch(line) or _IMPORT.fullmatch(line):
            continue
        headings += 1
        if headings > _LONE or not (_HEADING.fullmatch(line) or _UNDERLINE.fullmatch(below)):
            return True
    return False


def filled(view: View, ranked: Ranked, sizes: Sequence[int], budget: Budget) -> list[Hit]:
    """The hits of the rows of ``ranked``, of ``sizes`` in the budget's unit, that say something and fill the budget."""
    empty = set[int]()
    while True:
        hits = _taken(view, ranked, sizes, budget, empty)
        more = {place for place, hit in hits.items() if not says_something(hit.text, hit.level)}
        if not more:
            return list(hits.values())
        if not empty:
            more |= _small_and_empty(view.dataset("events"), ranked)
        empty |= more


def _taken(view: View, ranked: Ranked, sizes: Sequence[int], budget: Budget, empty: set[int]) -> dict[int, Hit]:
    """What the budget takes of the rows that are not at the places ``empty``: place -> hit."""
    others = [place for place in range(len(sizes)) if place not in empty]
    new = {place: number for number, place in enumerate(others)}
    neighbours = [[new[one] for one in ranked.neighbours[place] if one in new] for place in others]
    limit = budget.tokens or budget.words
    chosen = take([sizes[place] for place in others], neighbours, limit, budget.k, budget.contiguity, budget.fit)
    places = {others[number]: None if beside is None else others[beside] for number, beside in chosen.items()}
    return dict(zip(sorted(places), hits_of(view, ranked, places), strict=True))


def _small_and_empty(events: Snapshot, ranked: Ranked) -> set[int]:
    """Places of rows of at most `_SMALL` words that say nothing."""
    stored = np.array([place not in ranked.waiting for place in range(len(ranked.facts))], np.bool_)
    small = np.flatnonzero((ranked.facts["words"].to_numpy() <= _SMALL) & stored)
    names = [name for name in ("text", "level") if name in events.schema.names]
    rows: list[dict[str, Any]] = read_rows(events, ranked.facts["_rowid"].to_numpy()[small], names).to_pylist()
    return {place for place, row in zip(small.tolist(), rows, strict=True) if not says_something(**row)}
