"""The steps of a recipe, in the order in which they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mnemic.errors import RecipeError
from mnemic.hardware import likely_device
from mnemic.models import weights_hash
from operators.context import SECTION as CONTEXT
from operators.pii.operator import PersonalData
from operators.sections import Section
from pipelines.identity import Record, models_of, resolved_fields
from pipelines.recipe import Recipe
from pipelines.sections import BUILT_IN, sections
from pipelines.sources.canaries import PlantedDocuments
from pipelines.sources.columns import titled
from pipelines.steps.contracts import Context, Status, Step
from pipelines.steps.declared import resolved, step_of, with_optional
from pipelines.steps.read import ReadStep

__all__ = ["Context", "Status", "Step", "each_step", "steps_of"]


def steps_of(recipe: Recipe, device: str | None = None) -> list[Step]:
    """All steps of a recipe on ``device`` (by default what this machine has), which decides what `dtype: auto` means.

    Each step's record is made of its operator's fields and of the records of the steps that it reads. A step "reads"
    another one here when it takes values that the other computed. Which rows it takes is no part of the record: a
    document that becomes a duplicate costs its own rows downstream, not those of all others.
    """
    return list(each_step(recipe, device))


def each_step(recipe: Recipe, device: str | None = None) -> Iterator[Step]:
    """The steps of `steps_of`, each as soon as it is known: the models are hashed beside what is done with the first.

    Raises where the recipe names a model that is not there once its first step is asked for.
    """
    titles = getattr(recipe, CONTEXT.name) is not None
    sources = titled(recipe.sources) if titles else recipe.sources
    if recipe.canaries is not None:
        sources = (*sources, PlantedDocuments(recipe.canaries))
    personal = None if recipe.curate is None or recipe.curate.pii is None else PersonalData.of(recipe.curate.pii)
    masking = None if personal is None else personal.masking
    read = ReadStep(sources, recipe.max_document_bytes, recipe.fragment_characters, titles, masking=masking)
    running: dict[str, Step] = {read.name: read}
    operators = [(section, recipe.running(section)) for section in sections()]
    models = {model for _, operator in operators if operator is not None for model in models_of(operator)}
    pool = ThreadPoolExecutor(max(len(models), 1), thread_name_prefix="hash")
    try:
        hashes = {model: pool.submit(weights_hash, model) for model in models}
        yield read
        for section, operator in operators:
            if operator is None:
                continue
            missing = [name for name in section.needed_steps if name not in running]
            if missing:
                _refuse_silence(recipe, section, missing[0])
                continue
            step = _step_of(section, resolved(operator, device or likely_device()), running, hashes)
            running[step.name] = step
            yield step
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _step_of(section: Section, operator: Any, running: Mapping[str, Step], hashes: Mapping[str, Future[str]]) -> Step:
    """The step of ``section`` after the steps that are ``running``; ``hashes`` are those of models, by address."""

    def hash_of(model: str) -> str:
        return hashes[model].result() if model in hashes else weights_hash(model)

    shape = with_optional(section.step, running)
    reads = (*section.read_steps, *(name for name in shape.after if name not in section.needed_steps))
    fingerprints = {name: running[name].record.fingerprint for name in reads}
    record = Record(section.step_called, operator.version, resolved_fields(operator, hash_of), fingerprints)
    return _behind_inputs(step_of(dataclasses.replace(section, step=shape), operator, record), running.values())


def _behind_inputs(step: Any, running: Iterable[Step]) -> Step:
    """``step``, which also comes after the ``running`` steps that make one of its `inputs`.

    They enter no fingerprint: the step hashes the rows themselves.
    """
    inputs = {*getattr(step, "inputs", ())}
    makers = [one.name for one in running if inputs & {*one.datasets} and one.name not in step.after]
    return dataclasses.replace(step, after=(*step.after, *makers)) if makers else step  # type: ignore[no-any-return]


def _refuse_silence(recipe: Recipe, section: Section, missing: str) -> None:
    """Raise ``RecipeError`` where a recipe names a section that runs only when named, and it cannot run.

    Sections of mnemic that run by default may stand in a recipe without a language model: their settings wait for it.
    """
    if section.name in recipe.model_fields_set and not (section.on and section in BUILT_IN):
        raise RecipeError(
            f"`{section.name}` needs the step {missing}, which does not run in this recipe: it waits for "
            f"`language_model`, or is off. Set that, or leave `{section.name}` out."
        )
