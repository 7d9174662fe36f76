"""Recipes: what a bank is made of, as YAML read by a safe loader into checked fields.

The sections of a recipe are the operators themselves, so a setting exists once, with its default, beside the code that
uses it. The mistakes of all sections are told at once, before anything runs; within a section, values are looked at
once its names and types are right. A misspelt key names the nearest known one.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError

from mnemic.dataset.options import Options, checked
from mnemic.errors import RecipeError
from operators.cluster import Cluster
from operators.datastore import Datastore
from operators.deduplicate import Deduplicate, Signature
from operators.deduplicate.candidates import SHAPES
from operators.deduplicate.semantic import Semantic
from operators.denoise import Denoise
from operators.embed import Embed
from operators.imitate import Decode, Imitate
from operators.segment import Segment
from operators.sentences import Sentences
from operators.split import Split
from operators.surprise import Surprise
from operators.teacher import Neighbours, Teacher
from pipelines.sources import SOURCES, Source, find_source

SHIPPED = Path(__file__).parent / "recipes"
"""Folder of the recipes that come with mnemic; a bare name such as `demo` means one of them."""

SHARED = {
    "deduplicate": {"ngram": "signature.ngram", "unspaced": "signature.unspaced"},
    "datastore": {"model": "language_model", "max_document_tokens": "split.max_document_tokens"},
    "imitate": {"model": "language_model"},
    "decoder": {
        "model": "language_model",
        "window": "datastore.window",
        "stride": "datastore.stride",
        "max_document_tokens": "split.max_document_tokens",
    },
}
"""Settings that a recipe says once: the sections that read them, and where they are said, which `Recipe` has above."""


def _source(entry: Any) -> Source:
    if not isinstance(entry, Mapping):
        if hasattr(entry, "manifest"):
            return entry  # type: ignore[no-any-return]
        raise ValueError(f"{str(entry)[:60]!r} is not a source; write `kind: folder` and its `path`")
    if "kind" not in entry:
        raise ValueError(f"a source needs a `kind`: {' or '.join(SOURCES)}")
    source: Source = find_source(str(entry["kind"])).model_validate(dict(entry))  # type: ignore[attr-defined]
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
    signature: Signature = Signature()
    deduplicate: Deduplicate = Field(default=Deduplicate(), validate_default=True)
    units: Sentences = Sentences()
    embed: Embed = Embed()
    segment: Segment = Segment()
    cluster: Cluster = Cluster()
    semantic: Semantic | None = None
    language_model: str | None = None
    split: Split = Split()
    datastore: Datastore = Field(default=Datastore(), validate_default=True)
    neighbours: Neighbours = Neighbours()
    teacher: Teacher = Teacher()
    imitate: Imitate = Field(default=Imitate(), validate_default=True)
    control: bool = False
    decoder: Decode | None = Field(default=None, validate_default=True)
    surprise: Surprise | None = Field(default=None, validate_default=True)
    denoise: Denoise | None = None

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

    @field_validator(*SHARED, mode="wrap")
    @classmethod
    def _said_once(cls, section: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Put shared settings into a section; one that it says itself is refused, along with its other mistakes."""
        shared = SHARED[str(info.field_name)]
        own = dict(section) if isinstance(section, Mapping) else {}
        problems: list[Any] = [
            {"type": PydanticCustomError("said_once", "{place}", {"place": place}), "loc": (name,), "input": own[name]}
            for name, place in shared.items()
            if name in own
        ]
        try:
            operator = check({name: value for name, value in own.items() if name not in shared} if own else section)
        except ValidationError as error:
            problems += error.errors()
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        if operator is None:
            return None
        said = {name: _said(info.data, place) for name, place in shared.items()}
        return dataclasses.replace(operator, **{name: value for name, value in said.items() if value is not None})

    @field_validator("surprise", "denoise", mode="before")
    @classmethod
    def _by_the_language_model(cls, section: Any, info: ValidationInfo) -> Any:
        """By the recipe's language model, unless they name another; what a segmenter cuts by is computed anyway."""
        segment = info.data.get("segment")
        signal = segment.signal if segment is not None and info.field_name == "surprise" else None
        if section is None and signal is None:
            return None
        if section is not None and not isinstance(section, Mapping):
            return section
        model = info.data.get("language_model")
        said = {**({"model": model} if model else {}), **(section or {})}
        signals = said.get("signals", Surprise().signals if section is not None else ())
        if signal is not None and isinstance(signals, list | tuple) and signal not in signals:
            said["signals"] = (*signals, signal)
        return said

    @field_validator("deduplicate")
    @classmethod
    def _bands_fit(cls, deduplicate: Deduplicate, info: ValidationInfo) -> Deduplicate:
        permutations = _said(info.data, "signature.permutations")
        bands, rows = (deduplicate.bands, deduplicate.rows) if deduplicate.bands else SHAPES[0]
        wanted = (bands or 0) * (rows or 0)
        if deduplicate.method != "exact" and permutations is not None and wanted > permutations:
            raise ValueError(
                f"{bands} bands of {rows} rows need {wanted} permutations and "
                f"`signature.permutations` is {permutations}; use fewer bands or rows, or more permutations"
            )
        return deduplicate

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


def _said(sections: Mapping[str, Any], place: str) -> Any:
    """The setting at ``place`` ("language_model", "signature.ngram"); None where it is unset, or its section wrong."""
    section, _, name = place.partition(".")
    value = sections.get(section)
    return getattr(value, name) if name and value is not None else value


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
        source = SOURCES.get(str(entry.get("kind"))) if isinstance(entry, dict) else None
        if source is not None and "root" in source.model_fields:  # type: ignore[attr-defined]
            entry.setdefault("root", str(path.parent))
    return _checked(content, str(path))


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
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = [_problem(problem) for problem in error.errors()]
        raise RecipeError(
            f"{place} cannot be used:\n  " + "\n  ".join(problems) + "\nMend these and run again."
        ) from error


def _problem(problem: Any) -> str:
    """One pydantic problem as a phrase with the way out."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    place = place.removeprefix(".")
    given = str(problem["input"])[:60]
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _fields_at(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(known))}."
        return f"`{place}` is not a setting: {hint}"
    if problem["type"] == "missing":
        return f"`{place}` is missing."
    if problem["type"] == "said_once":
        return f"`{place}` is said by `{problem['msg']}`; set that instead."
    if problem["type"] == "dataclass_type":
        return f"`{place}` is {given}, not settings; write them below it as `setting: value`, or leave it out."
    if problem["type"] == "value_error":  # a sentence of ours: it says itself what was given
        sentence = problem["msg"].removeprefix("Value error, ")
        return f"`{place}`: {sentence}" + ("" if sentence.endswith((".", "?")) else ".")
    return f"`{place}`: {problem['msg']} (given: {given})."


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    if not location:
        return list(Recipe.model_fields)
    if location[0] == "sources":
        return sorted({name for source in SOURCES.values() for name in source.model_fields})  # type: ignore[attr-defined]
    field = Recipe.model_fields.get(str(location[0]))
    operators = [field.annotation, *get_args(field.annotation)] if field else []  # those of `Surprise | None`, too
    return [
        f.name for operator in operators if dataclasses.is_dataclass(operator) for f in dataclasses.fields(operator)
    ]
