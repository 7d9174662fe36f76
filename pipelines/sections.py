"""The sections of a recipe, in the order in which their steps run: the pipeline.

Those of mnemic stand here. Another package adds one by an entry point of the group `mnemic.operators` whose value is an
`operators.sections.Section`:

    [project.entry-points."mnemic.operators"]
    facts = "my_package.facts:SECTION"
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.metadata import EntryPoint

from mnemic.errors import RecipeError
from mnemic.plugins import entries, load_entry
from operators import (
    contained,
    context,
    datastore,
    denoise,
    edits,
    embed,
    gate,
    language,
    names,
    perplexity,
    split,
    suffixes,
    surprise,
    timelines,
    times,
    tokens,
)
from operators.blocks import operator as blocks
from operators.canaries import operator as canaries
from operators.cluster import operator as cluster
from operators.contamination import operator as contamination
from operators.curate import operator as curate
from operators.deduplicate import operator as deduplicate
from operators.deduplicate import semantic, signature
from operators.imitate import decoder, mlp
from operators.latents import cartridges, memory_tokens
from operators.measure import operator as measure
from operators.pages import operator as pages
from operators.pii import operator as pii
from operators.quality import operator as quality
from operators.rewrites import moments as key_moments
from operators.rewrites import operator as rewrites
from operators.sections import Learn, Section
from operators.segment import operator as segment
from operators.sentences import operator as sentences
from operators.slots import operator as slots
from operators.subset import operator as subset
from operators.teacher import neighbours
from operators.teacher import operator as teacher
from operators.written import (
    excerpts,
    facts,
    node_excerpts,
    node_summaries,
    note_vectors,
    packs,
    relations,
    summaries,
)
from operators.written import operator as written
from pipelines.declarations import fault, fault_among

BUILT_IN: tuple[Section, ...] = (
    signature.SECTION,
    measure.SECTION,
    contamination.SECTION,
    canaries.SECTION,
    language.SECTION,
    pii.SECTION,
    quality.SECTION,
    curate.SECTION,
    deduplicate.SECTION,
    edits.SECTION,
    sentences.SECTION,
    context.SECTION,
    names.SECTION,
    embed.SECTION,
    surprise.SECTION,
    perplexity.SECTION,
    segment.SECTION,
    times.SECTION,
    timelines.SECTION,
    pages.SECTION,
    packs.SECTION,
    written.SECTION,
    facts.SECTION,
    relations.SECTION,
    note_vectors.SECTION,
    summaries.SECTION,
    excerpts.SECTION,
    denoise.SECTION,
    cluster.SECTION,
    node_excerpts.SECTION,
    node_summaries.SECTION,
    semantic.SECTION,
    subset.SECTION,
    split.SECTION,
    contained.SECTION,
    tokens.SECTION,
    suffixes.SECTION,
    datastore.SECTION,
    neighbours.SECTION,
    teacher.SECTION,
    mlp.SECTION,
    mlp.CONTROL,
    decoder.SECTION,
    blocks.SECTION,
    slots.SECTION,
    cartridges.SECTION,
    memory_tokens.SECTION,
    key_moments.SECTION,
    rewrites.SECTION,
    gate.SECTION,
)

ENTRY_POINTS = "mnemic.operators"
"""Entry-point group in which other packages offer sections."""


@functools.cache
def sections() -> tuple[Section, ...]:
    """All sections: those of mnemic, then those of other packages, each behind the steps that it comes after.

    Raises ``RecipeError`` for an entry point that cannot be used, naming the package that offers it.
    """
    ordered = list(BUILT_IN)
    joined = [(point, _loaded(point)) for point in _offered()]
    waiting = joined
    while waiting:
        steps = {"read", *(section.step_called for section in ordered)}
        ready = [(point, section) for point, section in waiting if set(section.needed_steps) <= steps]
        if not ready:
            point, section = waiting[0]
            missing = next(name for name in section.needed_steps if name not in steps)
            raise _unusable(point, f"comes after a step {missing!r}, which no section has; steps are {_listed(steps)}")
        for point, section in ready:
            _refuse_clash(point, section, ordered)
            ordered.append(section)
        waiting = [one for one in waiting if one not in ready]
    for point, section in joined:
        if problem := fault_among(section, ordered):
            raise _unusable(point, problem)
    return tuple(ordered)


def _offered() -> list[EntryPoint]:
    return sorted(entries(ENTRY_POINTS), key=lambda point: (point.name, point.value))


def _loaded(point: EntryPoint) -> Section:
    try:
        section = load_entry(point)
    except Exception as error:
        raise _unusable(point, f"cannot be imported ({type(error).__name__}: {error})") from error
    if not isinstance(section, Section):
        raise _unusable(point, f"is a {type(section).__name__} and no `operators.sections.Section`")
    if problem := fault(section):
        raise _unusable(point, problem)
    return section


def _refuse_clash(point: EntryPoint, section: Section, ordered: list[Section]) -> None:
    names = {section.name, section.step_called}
    memory = section.step.memory if isinstance(section.step, Learn) else None
    for other in ordered:
        if names & {other.name, other.step_called}:
            raise _unusable(point, f"is called {section.name!r}, as another section is")
        if isinstance(other.step, Learn) and other.step.memory == memory:
            raise _unusable(point, f"trains a memory {memory!r}, which the section {other.name!r} trains")


def _unusable(point: EntryPoint, reason: str) -> RecipeError:
    package = point.dist.name if point.dist is not None else point.module
    return RecipeError(
        f"The section '{point.name}' of the package {package} ({point.value}) {reason}. Repair or uninstall {package}."
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
