"""Recipes from files, by name, or as mappings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mnemic.errors import RecipeError
from mnemic.opening import open_regular
from pipelines.recipe.limits import MOST_BYTES, fault
from pipelines.recipe.model import Recipe, SectionedRecipe
from pipelines.recipe.problems import sentences
from pipelines.recipe.yaml_text import NotYaml, read_yaml
from pipelines.sections import sections
from pipelines.sources.kinds import find_source

SHIPPED = Path(__file__).parent.parent / "recipes"
"""Folder of the recipes that come with mnemic; a bare name such as `demo` means one of them."""


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the bare name of one that ships with mnemic."""
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        stands = path.exists()
    except (OSError, RuntimeError, ValueError):  # a name that is too long, or of a home that nobody has
        path, stands = Path(name), False
    if stands:
        raise RecipeError(f"{path} is a folder, a pipe or a device; give the path of a YAML file.")
    shipped = {file.stem: file for file in SHIPPED.glob("*.yaml")}
    if str(name) in shipped:
        return shipped[str(name)]
    raise RecipeError(
        f"There is no recipe {str(name)[:200]!r}. Give the path of a YAML file (`mnemic init` writes one), "
        f"or one of: {', '.join(sorted(shipped))}."
    )


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Read and check a recipe given as a path, a shipped name, a mapping or a `Recipe`."""
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return _checked(recipe, "the recipe")
    path = find_recipe(recipe)
    try:
        content = read_yaml(_text(path))
    except NotYaml as error:
        raise RecipeError(f"{path} is not readable as YAML{error}: mend it, or begin with `mnemic init`.") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds no settings. `mnemic init` writes a recipe to begin with.")
    sources = content.get("sources")
    for entry in sources if isinstance(sources, list) else ():
        if isinstance(entry, dict) and _has_root(entry.get("kind")):
            entry.setdefault("root", str(path.parent))
    curate = content.get("curate")
    for name in _rooted_sections():
        for section in (content.get(name), curate.get(name) if isinstance(curate, dict) else None):
            if isinstance(section, dict):
                section.setdefault("root", str(path.parent))
    return _checked(content, str(path))


def _text(path: Path) -> str:
    """The text of a recipe's file. Raises `NotYaml` where it is no UTF-8."""
    try:
        with open_regular(os.path.realpath(path)) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read ({error.strerror}); check the path, and your right to read it."
        ) from None
    if len(data) > MOST_BYTES:
        raise RecipeError(f"{path} is larger than a recipe may be ({MOST_BYTES:,} bytes); give the path of a recipe.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotYaml(f" (byte {error.start} is not UTF-8)") from None


def _rooted_sections() -> list[str]:
    """The sections that read files of relative paths from a ``root``, by name."""
    return [one.name for one in sections() if "root" in {field.name for field in fields(one.operator)}]


def _has_root(kind: Any) -> bool:
    """Whether a source of this kind reads relative paths from a ``root``; the recipe's folder is the default."""
    try:
        return isinstance(kind, str) and "root" in find_source(kind).model_fields  # type: ignore[attr-defined]
    except RecipeError:
        return False  # told when the recipe is checked


def _checked(content: Mapping[str, Any], place: str) -> Recipe:
    if reason := fault(content):
        raise RecipeError(f"{place} cannot be used: {reason}")
    try:
        return SectionedRecipe.model_validate(dict(content))
    except ValidationError as error:
        lines = "\n  ".join(sentences(error.errors(), content))
    raise RecipeError(f"{place} cannot be used:\n  {lines}\nMend these and run again.")
