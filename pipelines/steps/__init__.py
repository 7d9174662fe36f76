"""The steps of a recipe, in the order in which they run."""

from __future__ import annotations

import dataclasses

from mnemic.errors import RecipeError
from mnemic.hardware import likely_device
from operators.sections import Section
from pipelines.identity import Record, resolved_fields
from pipelines.recipe import Recipe
from pipelines.sections import BUILT_IN, sections
from pipelines.steps.contracts import Context, Status, Step
from pipelines.steps.declared import resolved, step_of, with_optional
from pipelines.steps.read import ReadStep

__all__ = ["Context", "Status", "Step", "steps_of"]


def steps_of(recipe: Recipe, device: str | None = None) -> list[Step]:
    """All steps of a recipe on ``device`` (by default what this machine has), which decides what `dtype: auto` means.

    Each step's record is made of its operator's fields and of the records of the steps that it reads. A step "reads"
    another one here when it takes values that the other computed. Which rows it takes is no part of the record: a
    document that becomes a duplicate costs its own rows downstream, not those of all others.
    """
    read = ReadStep(recipe.sources, recipe.max_document_bytes, recipe.fragment_characters)
    running: dict[str, Step] = {read.name: read}
    for section in sections():
        operator = recipe.running(section)
        if operator is None:
            continue
        missing = [name for name in section.needed_steps if name not in running]
        if missing:
            _refuse_silence(recipe, section, missing[0])
            continue
        operator = resolved(operator, device or likely_device())
        shape = with_optional(section.step, running)
        reads = (*section.read_steps, *(name for name in shape.after if name not in section.needed_steps))
        fingerprints = {name: running[name].record.fingerprint for name in reads}
        record = Record(section.step_called, operator.version, resolved_fields(operator), fingerprints)
        running[record.step] = step_of(dataclasses.replace(section, step=shape), operator, record)
    return list(running.values())


def _refuse_silence(recipe: Recipe, section: Section, missing: str) -> None:
    """Raise ``RecipeError`` where a recipe names a section that runs only when named, and it cannot run.

    Sections of mnemic that run by default may stand in a recipe without a language model: their settings wait for it.
    """
    if section.name in recipe.model_fields_set and not (section.on and section in BUILT_IN):
        raise RecipeError(
            f"`{section.name}` needs the step {missing}, which does not run in this recipe: it waits for "
            f"`language_model`, or is off. Set that, or leave `{section.name}` out."
        )
