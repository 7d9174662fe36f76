"""The limits of a recipe before anything reads its settings: plain values, few and shallow.

A recipe may come from anybody. Twelve lines of YAML whose aliases repeat one another are 10**8 values, and a message
that quotes them takes minutes and all memory; a number of 5,000 digits cannot be printed at all. The limits are far
from what people write: the recipes that ship with mnemic have fewer than a hundred values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_BYTES = 250_000
MOST_VALUES = 10_000
"""Values and keys of a recipe, those counted again that an alias repeats."""

DEEPEST = 40
_WORDS = 60
"""Characters of a key that a sentence shows."""


def fault(content: Mapping[Any, Any]) -> str:
    """Why ``content`` cannot be looked at as a recipe, as a sentence; "" where it can. Takes no longer for a bomb."""
    values = 0
    pending: list[tuple[str, Any, int]] = [("", content, 1)]
    while pending:
        place, value, depth = pending.pop()
        values += 1
        if values > MOST_VALUES or len(pending) > MOST_VALUES:
            return f"it holds more than {MOST_VALUES:,} values; write what is read in a source, not in the recipe."
        if depth > DEEPEST:
            return f"`{place}` is nested too deeply; a setting has no more than {DEEPEST} levels."
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if not isinstance(key, str):
                    return f"a key of `{place or 'the recipe'}` is {kind(key)}; write names of settings, in quotes."
                if odd := _odd(key):
                    return f"a key of `{place or 'the recipe'}` holds {odd}; write it without."
                pending.append((_below(place, f".{key[:_WORDS]}"), inner, depth + 1))
        elif isinstance(value, list | tuple):
            pending += ((_below(place, f"[{index}]"), inner, depth + 1) for index, inner in enumerate(value))
        elif odd := _odd(value):
            return f"`{place}` holds {odd}; write another value."
    return ""


def kind(value: Any) -> str:
    """A value as a sentence tells it that may not quote texts, which can be secrets: a number, or what it is."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return "a number" if isinstance(value, int) and abs(value) >= 1 << 63 else str(value)
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "a mapping of keys"
    return "a list" if isinstance(value, list | tuple | set) else f"a {type(value).__name__}"


def _odd(value: Any) -> str:
    """What no setting may hold; "" where it holds none."""
    if isinstance(value, str):
        if "\0" in value:
            return "a NUL character"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "half of a character (a lone surrogate)"
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number of too many digits"
    return ""


def _below(place: str, part: str) -> str:
    return (place + part).removeprefix(".")[: 3 * _WORDS]
