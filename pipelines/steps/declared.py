"""The step that a section declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from mnemic.errors import StepError
from mnemic.hardware import resolve_dtype
from mnemic.plugins import load_address
from operators import sections
from operators.sections import Section, Shape
from pipelines.identity import Record
from pipelines.steps.contracts import Step
from pipelines.steps.derive import DeriveStep
from pipelines.steps.fit import FitStep
from pipelines.steps.grow import GrowStep
from pipelines.steps.train import TrainStep


def step_of(section: Section, operator: Any, record: Record) -> Step:
    """The step of ``section`` with its settings, ``operator``, and with the identity ``record``."""
    match section.step:
        case sections.Grow(dataset, columns, after, where, whole_documents):
            return GrowStep(record, operator, dataset, columns, after, whole_documents, where)
        case sections.Derive(origin, target, columns, key, target_key, after, where, needs, _, lookups):
            shape = (origin, target, columns, key, target_key, after, where, needs, lookups)
            return DeriveStep(record, operator, *shape)
        case sections.Fit(dataset, key, columns, after, where, needs, tables):
            return FitStep(record, operator, dataset, key, columns, after, where, needs, tables)
        case sections.Learn(memory, kind, after, rows):
            return TrainStep(record, operator, after, memory, kind, rows)
        case sections.Driven(driver, after):
            return _driven(section, driver, record, operator, after)


def _driven(section: Section, driver: str, record: Record, operator: Any, after: tuple[str, ...]) -> Step:
    """The step that the class or function "package.module:name" makes."""
    try:
        step: Step = load_address(driver)(record, operator, after)
        missing = [member for member in _MEMBERS if not hasattr(step, member)]
        if missing:
            raise TypeError(f"it makes a {type(step).__name__} without {', '.join(missing)}")
    except (ImportError, AttributeError, TypeError) as error:
        raise StepError(
            f"The section '{section.name}' is driven by {driver}, which makes no step ({error}). Repair or uninstall "
            "the package that offers it."
        ) from error
    return step


_MEMBERS = ("name", "record", "after", "datasets", "specs", "state", "run", "check")
"""The members of `Step`."""


def resolved(operator: Any, device: str) -> Any:
    """The operator with what "auto" stands for: types of the ``device``, and what it reads in its model's folder."""
    types = {
        field.name: resolve_dtype(getattr(operator, field.name), device)
        for field in dataclasses.fields(operator)
        if field.metadata.get("dtype")
    }
    operator = dataclasses.replace(operator, **types)
    return operator.resolved() if hasattr(operator, "resolved") else operator


def with_optional(shape: Shape, running: Mapping[str, Step]) -> Shape:
    """``shape`` that also comes after its optional steps, as far as they are ``running``, and reads what they add."""
    if not isinstance(shape, sections.Derive | sections.Driven):
        return shape
    there = {name: running[name] for name in shape.optional if name in running}
    if isinstance(shape, sections.Driven):
        return dataclasses.replace(shape, after=(*shape.after, *there), optional=())
    lookups = tuple(
        dataclasses.replace(lookup, fingerprint=running[lookup.step].record.fingerprint)
        for lookup in shape.lookups
        if lookup.step in running
    )
    columns = tuple(
        name for step in there.values() if isinstance(step, GrowStep) for name in step.operator.output(_EMPTY).names
    )
    return dataclasses.replace(
        shape,
        columns=(*shape.columns, *columns),
        after=(*shape.after, *there),
        needs=(*shape.needs, *columns),
        optional=(),
        lookups=lookups,
    )


_EMPTY = pa.schema([])
