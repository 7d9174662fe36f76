"""Plan: what a build would do, what is done and why, by asking the very code that would do it. Imports no torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Store
from mnemic.facts import consistent
from operators.written.presets import expansion
from pipelines.effects import Effects, effects
from pipelines.estimate.build import Estimator
from pipelines.estimate.machine import Machine, likely_engine
from pipelines.estimate.pace import past_rates
from pipelines.recipe import Recipe, load_recipe
from pipelines.release import release_state
from pipelines.steps import Status, Step, each_step
from pipelines.steps.contracts import StatusKind, state_of
from pipelines.steps.curate import CurateStep
from pipelines.steps.datasets import StillStore, known_datasets

PlannedKind = StatusKind | Literal["after"]


@dataclass(frozen=True)
class PlannedStep:
    """One line of a plan. ``kind`` is "after" where the step is done now and a step before it will run."""

    step: str
    kind: PlannedKind
    todo: int
    total: int
    unit: str
    reasons: tuple[str, ...]
    seconds: float | None  # estimate; None where nothing is known of the step


@dataclass(frozen=True)
class Cost:
    """The estimate of the whole build. ``seconds`` are those of the steps and of ``starting``, before the first works.

    ``memory`` and ``disk`` are bytes: of all processes at the costliest step, and those that are added. ``learnt``:
    builds of this machine have corrected it. ``unknown`` steps are not counted: nobody knows yet how long they take.
    """

    seconds: float = 0.0
    starting: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    engine: str = ""
    crowding: float = 1.0
    learnt: bool = False


@dataclass(frozen=True)
class Plan:
    bank: str
    steps: tuple[PlannedStep, ...]
    datasets: dict[str, tuple[int, int]]  # name -> (rows, bytes; in an object store those of the newest version)
    free_bytes: int | None
    effects: Effects | None = None  # of the rules of the section `curate`
    preset: tuple[str, ...] = ()  # what the preset of `written` comes to, and what it leaves out
    cost: Cost = field(default_factory=Cost)

    @property
    def nothing_to_do(self) -> bool:
        return all(step.kind == "done" for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "nothing_to_do": self.nothing_to_do}


def plan(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    bank: str | Path | None = None,
    device: str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> Plan:
    """What `build` would do with this recipe now. Loads no model.

    Reads no document, but for 2,000 of a bank whose recipe has rules and which has no statistics yet.
    """
    loaded = load_recipe(recipe)
    store = StillStore(Store(bank or loaded.root, storage_options or loaded.connection))
    waiting: dict[str, bool] = {}
    steps, planned, statuses = list[Step](), list[PlannedStep](), dict[str, Status]()
    for step in each_step(loaded, device):
        steps.append(step)
        status = statuses[step.name] = state_of(step, store)
        upstream = [name for name in step.after if waiting[name]]
        waiting[step.name] = bool(upstream) or not status.done
        planned.append(_line(step.name, status, upstream))
    with consistent("The releases", store.root):
        status = statuses["release"] = release_state(store, steps)
    upstream = [name for name, waits in waiting.items() if waits][:1]
    planned.append(_line("release", status, upstream))
    with consistent("The runs and datasets", store.root):
        estimator = Estimator(store, steps, Machine.here(likely_engine(), device), past_rates(store))
        cost, seconds = _cost(estimator, statuses)
    planned = [replace(line, seconds=seconds.get(line.step)) for line in planned]
    sizes = _sizes(store, known_datasets(steps).values())
    curate = next((step for step in steps if step.name == "curate"), None)
    dropped = effects(store, curate.operator, steps) if isinstance(curate, CurateStep) else None
    preset = "" if loaded.written is None else loaded.written.preset
    lines = tuple(expansion(preset)) if preset else ()
    return Plan(store.root, tuple(planned), sizes, _free(store.root), dropped, lines, cost)


def _cost(estimator: Estimator, statuses: Mapping[str, Status]) -> tuple[Cost, dict[str, float | None]]:
    """The cost of a build, and the seconds of each step that will work."""
    estimate, machine = estimator.whole(statuses), estimator.machine
    seconds = {name: one.seconds for name, one in estimate.steps.items() if one.part}
    cost = Cost(
        estimate.seconds,
        estimate.starting,
        estimate.space.memory,
        estimate.space.disk,
        estimate.warnings,
        estimate.unknown,
        machine.engine,
        machine.crowding,
        any(estimator.pace.ratio(key) is not None for name in seconds for key in estimator.keys(name)),
    )
    return cost, seconds


def _line(name: str, status: Status, upstream: Sequence[str]) -> PlannedStep:
    kind: PlannedKind = status.kind
    reasons = status.reasons
    if upstream and status.done:
        kind, reasons = "after", (f"its input may change after {', '.join(upstream)}",)
    elif upstream and not reasons:
        reasons = (f"after {', '.join(upstream)}",)
    return PlannedStep(name, kind, status.todo, status.total, status.unit, reasons, None)


def _sizes(store: Store, specs: Iterable[DatasetSpec]) -> dict[str, tuple[int, int]]:
    """Rows and bytes of every dataset that there is and that releases pin."""
    local, sizes = "://" not in store.root, {}
    for spec in specs:
        snapshot = store[spec.name].snapshot() if spec.pinned else None
        if snapshot is not None:
            size = _bytes(f"{store.root}/{spec.name}.lance") if local else snapshot.data_bytes
            sizes[spec.name] = (snapshot.count(spec.counted), size)
    return sizes


def _bytes(folder: str) -> int:
    """Bytes on disk of all versions."""
    return sum(os.path.getsize(os.path.join(place, file)) for place, _, files in os.walk(folder) for file in files)


def _free(root: str) -> int | None:
    if "://" in root:
        return None
    place = Path(root)
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free
