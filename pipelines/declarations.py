"""Faults in the section of another package, as phrases: looked for before anything is planned or built with it.

A wrong declaration would else show as an error of whatever reads it first, which names neither the section nor its
package.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import pyarrow as pa
from pydantic import BaseModel

from mnemic.catalogue import CATALOGUE, DatasetSpec, Removal
from operators.sections import Derive, Driven, Fit, Grow, Learn, RowKind, Section, Shape, preset_fields, shared_fields

SETTINGS = (
    "name",
    "bank",
    "storage_options",
    "sources",
    "max_document_bytes",
    "fragment_characters",
    "max_rejects",
    "language_model",
)
"""Keys of a recipe that are no sections."""

_TAKEN = {*SETTINGS, "read", "release", "running", "root", "connection", "as_json"}
"""Keys of a recipe, names of `Recipe`, and steps, that no section can have."""

_NAME = re.compile("[a-z][a-z0-9_-]*")

_MEMBERS: dict[type, tuple[str, ...]] = {
    Grow: ("output", "open"),
    Derive: ("output", "open"),
    Fit: ("output", "fit", "restore"),
    Learn: ("train", "config"),
    Driven: (),
}
"""The members that a step of this shape calls, beside `version` and `resources`."""

_ROWS = get_args(RowKind)


def fault(section: Section) -> str | None:
    """The first fault of ``section`` by itself, as a phrase behind its name; None where it has none."""
    return next(_faults(section), None)


def fault_among(section: Section, sections: Iterable[Section]) -> str | None:
    """The first fault of ``section`` beside all ``sections`` of a recipe, as a phrase; None where it has none."""
    return next(_faults_among(section, tuple(sections)), None)


def _faults(section: Section) -> Iterator[str]:
    for name in (section.name, section.step_called):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"is called {name!r}; let its name begin with a small letter and have small letters, digits, _ and -"
        elif name in _TAKEN or hasattr(BaseModel, name):
            yield f"is called {name!r}, which means something else in a recipe"
    if not isinstance(section.step, Shape):
        yield f"has a step {section.step!r}, which is none of {', '.join(shape.__name__ for shape in _MEMBERS)}"
        return
    if section.on not in (True, False, *SETTINGS):
        yield f"is on with {section.on!r}, which is no setting of a recipe; use one of {', '.join(SETTINGS)}, or True"
    yield from _faults_of_operator(section)
    yield from _faults_of_names(section.step, "step")
    for spec in section.datasets:
        yield from _faults_of_names(spec, f"dataset {spec.name!r}")
        yield from _faults_of_dataset(spec)
    match section.step:
        case Derive(key=key, target_key=target_key) if not key or len(key) != len(target_key):
            yield f"names its inputs by key={key!r} and target_key={target_key!r}; give both the same number of columns"
        case Learn(memory, kind, _, rows):
            yield from _faults_of_memory(memory, kind, rows)
        case Driven(driver=driver) if not re.fullmatch(r"[\w.]+:\w+", driver):
            yield f"is driven by {driver!r}; write it as package.module:name"


def _faults_of_memory(memory: str, kind: str, rows: str) -> Iterator[str]:
    from mnemic.memories.kinds import KINDS, is_known  # plans of recipes without such a section do not need it

    if not is_known(kind):
        yield f"trains a memory of the kind {kind!r}, which neither mnemic nor an installed package offers"
    if memory in KINDS and memory != kind:
        yield f"calls its memory {memory!r}, as another kind of memory is called"
    if rows not in _ROWS:
        yield f"trains a memory on {rows!r}; use one of {', '.join(_ROWS)}"


def _faults_of_operator(section: Section) -> Iterator[str]:
    operator: Any = section.operator
    if not isinstance(operator, type) or not dataclasses.is_dataclass(operator):
        yield f"has the operator {operator!r}, which is no dataclass; give the class itself"
        return
    name = operator.__name__
    if not operator.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"has an operator {name} that can be changed; declare it with @dataclass(frozen=True)"
    missing = [one for one in ("version", "resources", *_MEMBERS[type(section.step)]) if not hasattr(operator, one)]
    if missing:
        yield f"has an operator {name} without {', '.join(missing)}"
    if section.on:
        for field in dataclasses.fields(operator):
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING and field.init:
                yield f"runs unnamed, and its operator {name} has no default for {field.name}; give it one"


def _faults_of_names(declaration: Any, title: str) -> Iterator[str]:
    """Tuples of names that are something else: a text in place of a tuple would be taken letter by letter."""
    for field in dataclasses.fields(declaration):
        value = getattr(declaration, field.name)
        if str(field.type).startswith("tuple[str") and not (
            isinstance(value, tuple) and all(isinstance(name, str) for name in value)
        ):
            yield f"has a {title} whose {field.name} is {value!r}; write a tuple of names, such as ('id',)"


def _faults_of_dataset(spec: DatasetSpec) -> Iterator[str]:
    rules = get_args(Removal)
    names = spec.schema.names if isinstance(spec.schema, pa.Schema) else None
    for parent in spec.parents:
        if parent.rule not in rules:
            yield f"has a dataset {spec.name!r} with the rule {parent.rule!r}; use one of {', '.join(rules)}"
        if names is not None and parent.column and parent.column not in names and spec.name not in CATALOGUE:
            yield f"has a dataset {spec.name!r} whose parent is named in {parent.column!r}, a column that it lacks"
    lacking = [name for name in spec.key if names is not None and name not in names]
    if lacking and spec.name not in CATALOGUE:
        yield f"has a dataset {spec.name!r} whose key has {', '.join(lacking)}, which its schema lacks"


def _faults_among(section: Section, sections: tuple[Section, ...]) -> Iterator[str]:
    datasets = {*CATALOGUE, *(spec.name for other in sections for spec in other.datasets)}
    match section.step:
        case Grow(dataset=dataset) | Fit(dataset=dataset) | Derive(origin=dataset):
            if dataset not in datasets:
                yield f"reads a dataset {dataset!r}, which no section declares; there are {_listed(datasets)}"
            maker = next((o.step_called for o in sections if dataset in [spec.name for spec in o.datasets]), "read")
            if maker not in _before(section, sections):
                yield f"reads the dataset {dataset!r}, and does not come after the step {maker!r}, which makes it"
    for spec in section.datasets:
        for parent in spec.parents:
            if parent.dataset not in datasets:
                yield f"has a dataset {spec.name!r} whose parent is {parent.dataset!r}; there are {_listed(datasets)}"
    operators = {other.name: other.operator for other in sections}
    for field, place in (shared_fields(section.operator) | preset_fields(section.operator)).items():
        owner, _, name = place.partition(".")
        if owner not in (operators if name else SETTINGS) or (name and not _has(operators[owner], name)):
            yield f"has a setting {field!r} that is said by {place!r}, which no recipe has"


def _before(section: Section, sections: tuple[Section, ...]) -> set[str]:
    """The steps that ``section`` comes after, and those that they come after."""
    steps = {other.step_called: other for other in sections}
    names, waiting = set[str](), [section.step_called]
    while waiting:
        new = [name for step in waiting if step in steps for name in steps[step].needed_steps if name not in names]
        names.update(new)
        waiting = new
    return names


def _has(operator: type, name: str) -> bool:
    return hasattr(operator, name) or name in [field.name for field in dataclasses.fields(operator)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
