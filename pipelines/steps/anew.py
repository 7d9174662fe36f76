"""Steps that are computed again although nothing changed, because somebody asked (`mnemic build --anew STEP`).

The step's output is removed and the removal committed, and then the step runs as always. The next build carries on one
that was killed in between, with the option or without.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Store
from mnemic.dataset.growth import drop_fields
from mnemic.errors import RecipeError
from mnemic.memories.gates import GATES
from pipelines.identity import Record
from pipelines.steps.blocks import BlocksStep
from pipelines.steps.calls import CallsStep
from pipelines.steps.cluster import ClusterStep
from pipelines.steps.contracts import Context, Status, Step
from pipelines.steps.deduplicate import DeduplicateStep
from pipelines.steps.derive import DeriveStep
from pipelines.steps.embedding import EmbedStep
from pipelines.steps.fit import FitStep
from pipelines.steps.gate import GateStep
from pipelines.steps.grow import GrowStep
from pipelines.steps.key_moments import KeyMomentsStep
from pipelines.steps.latents import LatentsStep
from pipelines.steps.node_excerpts import NodeExcerptsStep
from pipelines.steps.node_summaries import NodeSummariesStep
from pipelines.steps.perplexity import PerplexityStep
from pipelines.steps.quality import QualityStep
from pipelines.steps.read import ReadStep
from pipelines.steps.rejects import forget_rejects
from pipelines.steps.rewrites import RewritesStep
from pipelines.steps.slots import SlotsStep
from pipelines.steps.train import TrainStep


@dataclass
class AnewStep:
    """``step``, which computes its output again whatever stands; once that is taken away, it is as any other."""

    step: Step
    taken_away: bool = False

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def record(self) -> Record:
        return self.step.record

    @property
    def after(self) -> tuple[str, ...]:
        return self.step.after

    @property
    def datasets(self) -> tuple[str, ...]:
        return self.step.datasets

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return self.step.specs

    def check(self, store: Store, max_rejects: float) -> None:
        self.step.check(store, max_rejects)

    def state(self, store: Store) -> Status:
        status = self.step.state(store)
        if self.taken_away or not status.done:
            return status
        return Status("due", status.total, status.total, status.unit, ("it is to be computed anew",))

    def run(self, context: Context) -> None:
        if not self.taken_away:
            _take_away(context, self.step)
            self.taken_away = True
        self.step.run(context)


def with_anew(steps: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """``steps``; those called ``names`` compute their output again."""
    for name in names:
        named(steps, name, "compute anew")
    return [_anew(step) if step.name in names else step for step in steps]


def named(steps: Sequence[Step], name: str, wish: str) -> Step:
    """The step called ``name``; an unknown one is refused with the nearest name. ``wish``: what was to be done."""
    by_name = {step.name: step for step in steps}
    if name not in by_name:
        nearest = difflib.get_close_matches(name, by_name, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise RecipeError(
            f"There is no step {name!r} to {wish}.{hint} The steps of this recipe are: {', '.join(by_name)}."
        )
    return by_name[name]


def _anew(step: Step) -> Step:
    match step:
        case DeduplicateStep() | ClusterStep():
            return dataclasses.replace(step, anew=True)
        case EmbedStep():
            return AnewStep(dataclasses.replace(step, reuse=False))
        case GrowStep() | FitStep() | DeriveStep() | ReadStep() | TrainStep() | GateStep():
            return AnewStep(step)
        case PerplexityStep() | QualityStep() | CallsStep() | BlocksStep() | SlotsStep() | NodeExcerptsStep():
            return AnewStep(step)
        case NodeSummariesStep() | LatentsStep() | KeyMomentsStep() | RewritesStep():
            return AnewStep(step)
    if hasattr(step, "anew"):  # a step of another package that knows how
        return dataclasses.replace(step, anew=True)  # type: ignore[type-var]
    raise RecipeError(f"The step {step.name} cannot be computed anew: it has no field `anew`. Leave {step.name} out.")


def _take_away(context: Context, step: Step) -> None:
    """Delete what ``step`` made, as far as something stands."""
    match step:
        case GrowStep():
            _drop_columns(context, step)
        case FitStep():
            _drop_columns(context, step)
            for table in step.tables:
                if context.store[table.name].snapshot() is not None:
                    context.commit(partial(context.store[table.name].annotate, {}))  # it is nobody's output now
        case DeriveStep() | ReadStep():  # rejects first: a kill between the two leaves rows, which are taken away then
            context.commit(lambda: forget_rejects(context.store, f"step = '{step.name}'"))
            for name in (name for name in step.datasets if name not in ("removals", "inbox")):  # which no step makes
                if context.store[name].snapshot() is not None:
                    context.commit(partial(context.store[name].delete, "true"))
        case TrainStep() | QualityStep() | CallsStep() | BlocksStep() | SlotsStep():
            step.forget(context)
        case NodeSummariesStep() | LatentsStep() | KeyMomentsStep() | RewritesStep():
            step.forget(context)
        case NodeExcerptsStep():
            if context.store[step.datasets[0]].snapshot() is not None:
                context.commit(partial(context.store[step.datasets[0]].annotate, {}))
        case PerplexityStep():
            for part in reversed(step.parts):
                _drop_columns(context, part)
        case GateStep():
            _drop_columns(context, step.confidence)
            if context.store[GATES].snapshot() is not None:
                context.commit(partial(context.store[GATES].annotate, {}))


def _drop_columns(context: Context, step: GrowStep | FitStep) -> None:
    dataset = context.store[step.dataset]
    snapshot = dataset.snapshot()
    if snapshot is None:
        return
    names = [name for name in step.operator.output(snapshot.schema).names if name in snapshot.schema.names]
    context.commit(lambda: drop_fields(dataset, names))
