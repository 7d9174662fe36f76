"""Recipes from files, by name, or as mappings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mnemic.errors import RecipeError
from pipelines.recipe.model import Recipe, SectionedRecipe
from pipelines.recipe.problems import sentence
from pipelines.sources.kinds import find_source

SHIPPED = Path(__file__).parent.parent / "recipes"
"""Folder of the recipes that come with mnemic; a bare name such as `demo` means one of them."""


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the bare name of one that ships with mnemic."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
    raise RecipeError(
        f"There is no recipe {str(name)!r}. Give the path of a YAML file (`mnemic init` writes one), "
        f"or one of: {names}."
    )


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Read and check a recipe given as a path, a shipped name, a mapping or a `Recipe`."""
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return _checked(dict(recipe), "the recipe")
    path = find_recipe(recipe)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1} ({getattr(error, 'problem', '')})" if where else ""
        # The parser's own error quotes the line, which may hold a secret.
        raise RecipeError(f"{path} is not readable as YAML{line}: mend it, or begin with `mnemic init`.") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds no settings. `mnemic init` writes a recipe to begin with.")
    sources = content.get("sources")
    for entry in sources if isinstance(sources, list) else ():
        if isinstance(entry, dict) and _has_root(entry.get("kind")):
            entry.setdefault("root", str(path.parent))
    return _checked(content, str(path))


def _has_root(kind: Any) -> bool:
    """Whether a source of this kind reads relative paths from a ``root``; the recipe's folder is the default."""
    try:
        return "root" in find_source(str(kind)).model_fields  # type: ignore[attr-defined]
    except RecipeError:
        return False  # told when the recipe is checked


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses a key that stands twice: YAML would take the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"`{twice}` stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _checked(content: dict[str, Any], place: str) -> Recipe:
    try:
        return SectionedRecipe.model_validate(content)
    except ValidationError as error:
        problems = [sentence(problem, content) for problem in error.errors()]
        raise RecipeError(
            f"{place} cannot be used:\n  " + "\n  ".join(problems) + "\nMend these and run again."
        ) from error
