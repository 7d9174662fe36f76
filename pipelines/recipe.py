"""Recipes: what a bank is made of, as YAML read by a safe loader into checked fields.

The sections of a recipe are the operators themselves, so a setting exists once, with its default, beside the code that
uses it. All mistakes of a recipe are told at once, before anything runs; a misspelt key names the nearest known one.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mnemic.errors import RecipeError
from operators.cluster import Cluster
from operators.datastore import Datastore
from operators.deduplicate import Deduplicate, Signature
from operators.embed import Embed
from operators.imitate import Imitate
from operators.segment import Segment
from operators.sentences import Sentences
from operators.split import Split
from operators.teacher import Teacher
from pipelines.sources import SOURCES, Source, find_source

SHIPPED = Path(__file__).parent / "recipes"
"""Folder of the recipes that come with mnemic; a bare name such as `demo` means one of them."""

SHARED = {
    ("datastore", "model"): "language_model",
    ("imitate", "model"): "language_model",
    ("datastore", "max_document_tokens"): "split.max_document_tokens",
}
"""Settings that a recipe says once, for all operators that read them."""


class Recipe(BaseModel):
    """A recipe. One bank belongs to one recipe, which it knows by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    bank: str = ""
    sources: tuple[Any, ...] = Field(min_length=1)
    max_document_bytes: int = Field(default=10_000_000, gt=0)
    fragment_characters: int = Field(default=500_000, gt=0)
    max_rejects: float = Field(default=0.1, ge=0.0, le=1.0)
    signature: Signature = Signature()
    deduplicate: Deduplicate = Deduplicate()
    units: Sentences = Sentences()
    embed: Embed = Embed()
    segment: Segment = Segment()
    cluster: Cluster = Cluster()
    language_model: str | None = None
    split: Split = Split()
    datastore: Datastore = Datastore()
    teacher: Teacher = Teacher()
    imitate: Imitate = Imitate()

    @model_validator(mode="before")
    @classmethod
    def _said_once(cls, content: Any) -> Any:
        for (section, field), instead in SHARED.items() if isinstance(content, Mapping) else ():
            if isinstance(content.get(section), Mapping) and field in content[section]:
                raise ValueError(f"`{section}.{field}` is said by `{instead}`; set that instead")
        return content

    @field_validator("sources", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> tuple[Source, ...]:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("a list with at least one source is needed")
        sources = tuple(_source(entry) for entry in value)
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; give one of them another `name`")
        return sources

    @property
    def root(self) -> str:
        """Where the bank is kept."""
        return self.bank or f"memory/{self.name}"

    def as_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, default=_plain)


def _source(entry: Any) -> Source:
    if not isinstance(entry, Mapping):
        return entry  # type: ignore[no-any-return]
    if "kind" not in entry:
        raise ValueError("a source needs a `kind`: folder or python-environment")
    source: Source = find_source(str(entry["kind"])).model_validate(dict(entry))  # type: ignore[attr-defined]
    return source


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value)


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path, or the bare name of one that ships with mnemic."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
    raise RecipeError(
        f"There is no recipe {str(name)!r}. Give the path of a YAML file (`mnemic init` writes one), "
        f"or one of: {known}."
    )


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe) -> Recipe:
    """Read and check a recipe given as a path, a shipped name, a mapping or a `Recipe`."""
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return _checked(dict(recipe), "the recipe")
    path = find_recipe(recipe)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise RecipeError(f"{path} is not readable as YAML{line}: mend it, or begin with `mnemic init`.") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} holds no settings. `mnemic init` writes a recipe to begin with.")
    for entry in content.get("sources") or ():
        if isinstance(entry, dict) and entry.get("kind") == "folder":
            entry.setdefault("root", str(path.parent))
    return _checked(content, str(path))


def _checked(content: dict[str, Any], place: str) -> Recipe:
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        problems = [_problem(problem) for problem in error.errors()]
        raise RecipeError(
            f"{place} cannot be used:\n  " + "\n  ".join(problems) + "\nMend these and run again."
        ) from error
    return with_language_model(recipe)


def with_language_model(recipe: Recipe) -> Recipe:
    """The settings that several operators share, put where each of them reads it."""
    if recipe.language_model is None:
        return recipe
    return recipe.model_copy(
        update={
            "datastore": dataclasses.replace(
                recipe.datastore, model=recipe.language_model, max_document_tokens=recipe.split.max_document_tokens
            ),
            "imitate": dataclasses.replace(recipe.imitate, model=recipe.language_model),
        }
    )


def _problem(problem: Any) -> str:
    """One pydantic problem as a phrase with the way out."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _fields_at(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(known))}."
        return f"`{place}` is not a setting: {hint}"
    if problem["type"] == "missing":
        return f"`{place}` is missing."
    return f"`{place}`: {problem['msg'].removeprefix('Value error, ')} (given: {str(problem['input'])[:60]})."


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    if not location:
        return list(Recipe.model_fields)
    if location[0] == "sources":
        return sorted({name for source in SOURCES.values() for name in source.model_fields})  # type: ignore[attr-defined]
    field = Recipe.model_fields.get(str(location[0]))
    operator = field.annotation if field else None
    return [f.name for f in dataclasses.fields(operator)] if dataclasses.is_dataclass(operator) else []
