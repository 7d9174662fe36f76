"""Expressions over counts, such as `hash_signs / words`: names, numbers, + - * / and brackets, and nothing else.

They are parsed here and never given to Python. A division by zero has no value (NaN).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnemic.arrays import Floats
from mnemic.errors import RecipeError

LONGEST = 3000
"""Characters of an expression: those of a sum over all languages."""

_TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-z_][a-z0-9_]*)|(?P<sign>[-+*/()]))", re.ASCII)

Tree = tuple["str | float | Tree", ...]
"""("name", word), ("number", value) or (sign, left, right)."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression. ``names`` are the counts that it reads."""

    text: str
    tree: Tree
    names: frozenset[str]

    def __call__(self, columns: Mapping[str, Floats]) -> Floats:
        """The value for each row of ``columns``, float64 [n]; NaN where something is divided by zero."""
        with np.errstate(all="ignore"):
            values = _value(self.tree, columns)
        return np.where(np.isfinite(values), values, np.nan)


def parsed(text: str) -> Expression:
    """The expression ``text``. Raises ``RecipeError`` with a sentence where it is none."""
    if len(text) > LONGEST:
        raise _refused(text, f"it has more than {LONGEST} characters")
    tokens = list(_tokens(text))
    tree, place = _sum(text, tokens, 0, 0)
    if place < len(tokens):
        raise _refused(text, f"{tokens[place][1]!r} is left over")
    return Expression(text, tree, frozenset(token for kind, token in tokens if kind == "name"))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise _refused(text, f"{text[place:].strip()[:20]!r} is neither a name nor a number nor one of + - * / ( )")
        kind = str(match.lastgroup)
        yield kind, match[kind]
        place = match.end()


def _sum(text: str, tokens: list[tuple[str, str]], place: int, depth: int) -> tuple[Tree, int]:
    tree, place = _product(text, tokens, place, depth)
    while place < len(tokens) and tokens[place][1] in "+-":
        sign = tokens[place][1]
        right, place = _product(text, tokens, place + 1, depth)
        tree = (sign, tree, right)
    return tree, place


def _product(text: str, tokens: list[tuple[str, str]], place: int, depth: int) -> tuple[Tree, int]:
    tree, place = _factor(text, tokens, place, depth)
    while place < len(tokens) and tokens[place][1] in "*/":
        sign = tokens[place][1]
        right, place = _factor(text, tokens, place + 1, depth)
        tree = (sign, tree, right)
    return tree, place


def _factor(text: str, tokens: list[tuple[str, str]], place: int, depth: int) -> tuple[Tree, int]:
    if depth > 20:
        raise _refused(text, "its brackets are nested more than 20 deep")
    if place >= len(tokens):
        raise _refused(text, "something is missing at its end")
    kind, token = tokens[place]
    if kind == "number":
        return ("number", float(token)), place + 1
    if kind == "name":
        return ("name", token), place + 1
    if token == "-":
        tree, place = _factor(text, tokens, place + 1, depth + 1)
        return ("-", ("number", 0.0), tree), place
    if token == "(":
        tree, place = _sum(text, tokens, place + 1, depth + 1)
        if place >= len(tokens) or tokens[place][1] != ")":
            raise _refused(text, "a bracket is not closed")
        return tree, place + 1
    raise _refused(text, f"{token!r} stands where a name, a number or a bracket belongs")


def _value(tree: Tree, columns: Mapping[str, Floats]) -> Floats:
    """The value of a tree. A long sum leans to the left: it is followed in a loop, and recursion goes into brackets."""
    outer: list[Tree] = []
    while tree[0] not in ("name", "number"):
        outer.append(tree)
        tree = tree[1]  # type: ignore[assignment]
    value: Any = columns[str(tree[1])] if tree[0] == "name" else np.float64(tree[1])  # type: ignore[arg-type]
    for sign, _, operand in reversed(outer):
        right = _value(operand, columns)  # type: ignore[arg-type]
        if sign == "+":
            value = value + right
        elif sign == "-":
            value = value - right
        elif sign == "*":
            value = value * right
        else:
            value = np.where(right == 0, np.nan, value / right)
    return value  # type: ignore[no-any-return]


def _refused(text: str, reason: str) -> RecipeError:
    return RecipeError(
        f"The expression {text[:60]!r} cannot be read: {reason}. Write names of counts, numbers, + - * / and brackets, "
        "such as `hash_signs / words`."
    )
