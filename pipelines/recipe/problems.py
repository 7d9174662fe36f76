"""Mistakes of a recipe as sentences that end with the way out."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from mnemic.errors import RecipeError
from pipelines.recipe.limits import kind
from pipelines.recipe.model import SectionedRecipe
from pipelines.recipe.secrets import without_secrets
from pipelines.sections import sections
from pipelines.sources.kinds import SOURCES, find_source

_WORDS = 60
"""Characters of a key that a sentence shows."""

_LISTS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type"})
"""What pydantic calls a value that is no list of YAML."""

MOST = 20
"""Mistakes that one error names."""


def sentences(problems: list[Any], content: Mapping[str, Any]) -> list[str]:
    """Pydantic's faults of ``content``, each with the way out; no text that may be a secret is quoted."""
    listed: set[str] = set()
    lines = [without_secrets(sentence(problem, content, listed), content) for problem in problems[:MOST]]
    return lines + ([f"and {len(problems) - MOST:,} more."] if len(problems) > MOST else [])


def sentence(problem: Any, content: Mapping[str, Any], listed: set[str]) -> str:
    """One problem that pydantic has with ``content`` as a phrase with the way out. It quotes no text that was given.

    ``listed`` are lists of settings that stand in earlier phrases; they are not told again.
    """
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:_WORDS]}" for part in problem["loc"])
    place = place.removeprefix(".")
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = _fields_at(problem["loc"][:-1], content)
        near = difflib.get_close_matches(str(problem["loc"][-1])[:_WORDS], names, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else _known(names, listed)
        return f"`{place}` is not a setting: {hint}"
    if problem["type"] == "missing":
        return f"`{place}` is missing."
    if problem["type"] == "said_once":
        return f"`{place}` is said by `{problem['msg']}`; set that instead."
    if problem["type"] == "dataclass_type":
        value = kind(problem["input"])
        return f"`{place}` is {value}, not settings; write them below it as `setting: value`, or leave it out."
    if problem["type"] in _LISTS:
        return f"`{place}` is {kind(problem['input'])}, not a list; write it in brackets, as `[a, b]`."
    if problem["type"] == "value_error":  # a sentence of ours: it says itself what was given
        phrase = problem["msg"].removeprefix("Value error, ")
        return f"`{place}`: {phrase}" + ("" if phrase.endswith((".", "?")) else ".")
    return f"`{place}`: {problem['msg']} (given: {kind(problem['input'])})."


def _known(names: list[str], listed: set[str]) -> str:
    settings = ", ".join(sorted(names))
    if settings in listed:
        return "the known ones stand above."
    listed.add(settings)
    return f"known are {settings}."


def _fields_at(location: tuple[Any, ...], content: Mapping[str, Any]) -> list[str]:
    """The settings that may stand at ``location``."""
    if not location:
        return list(SectionedRecipe.model_fields)
    if location[0] == "sources":
        return _fields_of_source(content["sources"][location[1]])
    operators = [section.operator for section in sections() if section.name == location[0]]
    return [field.name for operator in operators for field in dataclasses.fields(operator)]


def _fields_of_source(entry: Mapping[str, Any]) -> list[str]:
    """The settings of a source of this very kind."""
    try:
        return sorted(find_source(str(entry["kind"])).model_fields)  # type: ignore[attr-defined]
    except RecipeError:
        return sorted({name for kind in SOURCES for name in find_source(kind).model_fields})  # type: ignore[attr-defined]
