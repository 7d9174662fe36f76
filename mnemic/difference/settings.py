"""What two releases say of themselves, compared in words: the recipe, and how each step made its output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mnemic.terminal import one_line

WIDTH = 60
"""Characters of a value in a sentence."""


def recipe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """A phrase for each setting that differs: ``embed.batch_tokens: 512 -> 1024``."""
    return tuple(_changes(before, after))


def lineage_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """A phrase for each step that is new, is gone, or made its output otherwise: by version, setting, or what it reads.

    Steps have the shape that `mnemic.release.release_of` checks. The release's own record is left out.
    """
    phrases = []
    for step in sorted((before.keys() | after.keys()) - {"release"}):
        mine, other = before.get(step), after.get(step)
        if mine is None or other is None:
            phrases.append(f"{step}: {'a new step' if mine is None else 'no step any more'}")
            continue
        if mine["fingerprint"] == other["fingerprint"]:
            continue
        if mine["version"] != other["version"]:
            phrases.append(f"{step}: version {mine['version']} -> {other['version']}")
        phrases += [f"{step}.{change}" for change in _changes(mine["fields"], other["fields"])]
        phrases += [f"{step} reads another {name}" for name in _others(mine["reads"], other["reads"])]
    return tuple(phrases)


def _others(mine: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(mine.keys() | other.keys()) if mine.get(name) != other.get(name)]


def _changes(before: Any, after: Any) -> Iterator[str]:
    mine, other = dict(_flat(before)), dict(_flat(after))
    for name in _others(mine, other):
        yield f"{name}: {_short(mine.get(name))} -> {_short(other.get(name))}"


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, value) of everything inside, such as ("sources.0.path", "notes")."""
    if isinstance(value, Mapping):
        inside = list(value.items())
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        inside = list(enumerate(value))
    else:
        inside = []
    if not inside:
        yield place, value
    for name, one in inside:
        yield from _flat(one, f"{place}.{name}" if place else str(name))


def _short(value: Any) -> str:
    return "nothing" if value is None else one_line(str(value), WIDTH)
