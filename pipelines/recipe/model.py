"""The fields of a recipe: what is said once for the bank, and a field for each section."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WrapValidator,
    create_model,
    field_validator,
)

from mnemic.dataset.options import Options, checked
from mnemic.metadata import RESERVED
from operators.sections import Section
from pipelines.recipe.limits import kind
from pipelines.recipe.section import SectionCheck
from pipelines.sections import sections
from pipelines.sources.columns import columns_of
from pipelines.sources.contracts import Source
from pipelines.sources.kinds import SOURCES, find_source


def _source(entry: Any) -> Source:
    if not isinstance(entry, Mapping):
        if hasattr(entry, "manifest"):
            return entry  # type: ignore[no-any-return]
        phrase = repr(entry[:60]) if isinstance(entry, str) else kind(entry)
        raise ValueError(f"{phrase} is not a source; write `kind: folder` and its `path`")
    if "kind" not in entry:
        raise ValueError(f"a source needs a `kind`: {', '.join(SOURCES)}")
    if not isinstance(entry["kind"], str):
        raise ValueError(f"the `kind` of a source is a word: {', '.join(SOURCES)}")
    source: Source = find_source(entry["kind"]).model_validate(dict(entry))  # type: ignore[attr-defined]
    return source


class Recipe(BaseModel):
    """A recipe. One bank belongs to one recipe, which it knows by its name."""

    # Inputs are hidden in pydantic's own errors, which a traceback shows: they may be secrets.
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    bank: str = ""
    storage_options: dict[str, SecretStr] = Field(default={}, exclude=True, repr=False)
    sources: tuple[Annotated[Any, BeforeValidator(_source)], ...]
    max_document_bytes: int = Field(default=10_000_000, gt=0)
    fragment_characters: int = Field(default=500_000, gt=0)
    max_rejects: float = Field(default=0.1, ge=0.0, le=1.0)
    language_model: str | None = None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The operator of the section called ``name``, None where it is off."""

    @field_validator("storage_options", mode="before")
    @classmethod
    def _options_are_known(cls, value: Any, info: ValidationInfo) -> Any:
        """Values may be ``${NAME}`` of the environment. No message quotes a value."""
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(item, str | int | float) for item in value.values()):
            raise ValueError("options are written below it as `name: value`, each value on one line")
        options = {
            str(name): str(item).lower() if isinstance(item, bool) else _from_environment(str(name), str(item))
            for name, item in value.items()
        }
        elsewhere = "://" in info.data.get("bank", "") and not info.data["bank"].startswith("s3://")
        return options if elsewhere else dict(checked(options))

    @field_validator("sources", mode="before")
    @classmethod
    def _some_sources(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("a list with at least one source is needed")
        return value

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are called {twice[0]!r}; give one of them another `name`")
        return sources

    @field_validator("sources")
    @classmethod
    def _columns_agree(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """A metadata column has one type, and no name that a bank's datasets have for something else."""
        types: dict[str, tuple[str, str]] = {}
        for source, name, own in columns_of(sources):
            if name in RESERVED:
                raise ValueError(
                    f"the column `{name}` of {source!r} has a name of mnemic's own; write another one and where it is"
                    f" from, as `my_{name}: {{type: {own}, field: {name}}}`"
                )
            first, other = types.setdefault(name, (source, own))
            if own != other:
                raise ValueError(
                    f"the column `{name}` is {other} in {first!r} and {own} in {source!r}; give it one type"
                )
        return sources

    def running(self, section: Section) -> Any:
        """The operator of ``section``; None where it is off, or waits for a setting that this recipe does not have."""
        if isinstance(section.on, str) and getattr(self, section.on) is None:
            return None
        return getattr(self, section.name)

    @property
    def root(self) -> str:
        """Where the bank is kept."""
        bank = self.bank or f"memory/{self.name}"
        return bank if "://" in bank else str(Path(bank).expanduser())

    @property
    def connection(self) -> dict[str, str]:
        """The storage options with their secrets, to open the bank with; nothing else of a recipe holds them."""
        return Options({name: value.get_secret_value() for name, value in self.storage_options.items()})

    def as_json(self) -> str:
        """The recipe as it is kept in a release: without its storage options."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, default=_plain)


def _from_environment(option: str, value: str) -> str:
    """``value`` with every ``${NAME}`` in it replaced by that variable."""

    def variable(match: re.Match[str]) -> str:
        name = match[1]
        if name not in os.environ:
            raise ValueError(f"`{option}` is to come from the environment variable {name}, which is not set; set it")
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", variable, value)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value)


def recipe_model() -> type[Recipe]:
    """`Recipe` with a field for each section: its operator, or None where it is off.

    Those that are completed by others come last: a field sees those before it.
    """
    fields: dict[str, Any] = {}
    pipeline = sections()
    for section in sorted(pipeline, key=lambda section: section.complete is not None):
        default = section.operator() if section.on else None
        check = WrapValidator(SectionCheck(section, pipeline, default))
        fields[section.name] = (
            Annotated[section.operator | None, check],
            Field(default=default, validate_default=True),
        )
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, __module__="pipelines.recipe", **fields)


SectionedRecipe = recipe_model()
