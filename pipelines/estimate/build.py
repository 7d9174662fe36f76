"""The estimate of a build: seconds a step, fixed costs, memory and disk; and its comparison with what came.

A plan has sizes of what is committed, and guesses those of what is not read yet. A build asks again before each step,
when the sizes are known, so that what it learns is the pace of the step and not the size of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mnemic.compiled import is_compiled
from mnemic.dataset import Store
from mnemic.hardware import has_bfloat16
from pipelines.estimate.amounts import Amounts, committed, loading, measured, unread, with_rows_to_come
from pipelines.estimate.machine import Machine, threads
from pipelines.estimate.pace import read_pace
from pipelines.estimate.rates import KERNELS, MODELS, ON_A_GPU, RATES, RAY_SECONDS, WITHOUT_BFLOAT16, Rate
from pipelines.estimate.space import Space, space
from pipelines.live import duration
from pipelines.steps import Status, Step
from pipelines.steps.read import ReadStep

FRAGMENT_CHARACTERS = 500_000
WARNED_SECONDS = 3600.0
"""From so many expected seconds on, `plan` and `build` warn."""

THREADS_HELP = 0.3
"""What a second thread or worker adds to a model's pace: processors of a virtual machine share what multiplies."""

WORKERS_HELP = 0.5
"""What a second worker adds to the pace of other steps."""


LEAST_SECONDS = 0.3
"""A step that takes less is no measure of anything."""

LARGE = 2.0
"""How many times its fixed seconds the work of a step is, from which on it says how long a row takes."""


@dataclass(frozen=True)
class Work:
    """Core seconds of a step on the machine of the shipped rates: ``fixed``, by ``amount``, and ``compiling`` first."""

    fixed: float
    amount: float
    compiling: float


@dataclass
class StepEstimate:
    """``seconds`` expected of a step, None where nothing is known of it; ``part`` of its rows are left to do."""

    seconds: float | None
    part: float


@dataclass
class BuildEstimate:
    """The costs of a build. ``starting`` are seconds until the first worker works."""

    steps: dict[str, StepEstimate] = field(default_factory=dict)
    starting: float = 0.0
    space: Space = field(default_factory=Space)
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # steps whose time nobody knows yet

    @property
    def seconds(self) -> float:
        return self.starting + sum(step.seconds or 0.0 for step in self.steps.values())


class Estimator:
    """Estimates of the steps of one recipe in one bank, on one machine."""

    def __init__(self, store: Store, steps: Sequence[Step], machine: Machine, rates: Mapping[str, float]) -> None:
        self._store, self.machine, self._past = store, machine, rates
        self._steps = {step.name: step for step in steps}
        self.pace = read_pace()

    def whole(self, statuses: Mapping[str, Status]) -> BuildEstimate:
        """The estimate of a build whose steps have these ``statuses`` now, the release among them."""
        there = committed(self._store)
        read = self._steps.get("read")
        part = _part(statuses["read"]) if "read" in statuses else 0.0
        fresh = unread(read, part, self.pace) if isinstance(read, ReadStep) and part else Amounts()
        amounts = with_rows_to_come(there.plus(fresh))
        parts = self._parts(statuses, fresh.characters / amounts.characters if amounts.characters else 0.0)
        estimate = BuildEstimate()
        for name, share in parts.items():
            todo = statuses[name].todo or amounts.documents * share
            work = self.work(name, amounts, share)
            estimate.steps[name] = StepEstimate(self.seconds(name, work, todo) if share else 0.0, share)
        working = [name for name, share in parts.items() if share]
        if working and self.machine.engine == "ray":
            estimate.starting = RAY_SECONDS * self.machine.slowness * self.machine.crowding
        estimate.unknown = tuple(name for name in working if estimate.steps[name].seconds is None)
        estimate.warnings = tuple(self._warnings(estimate, amounts))
        estimate.space = space(amounts, parts, self._steps, self.machine.processors, self.machine.engine)
        return estimate

    def _parts(self, statuses: Mapping[str, Status], new: float) -> dict[str, float]:
        """The share of its rows that each step has to do, with what steps before it will give it."""
        parts, passed = dict[str, float](), dict[str, float]()
        for name, status in statuses.items():
            step, rate, own = self._steps.get(name), RATES.get(name), _part(status)
            before = passed.values() if step is None else (passed.get(one, 0.0) for one in step.after)
            coming = max(before, default=0.0)
            if name == "read":
                parts[name], passed[name] = own, new
            elif rate is not None and rate.whole:
                parts[name] = 1.0 if own or coming else 0.0
                passed[name] = coming if status.kind in ("done", "due") else max(own, coming)
            else:
                parts[name] = passed[name] = max(own, coming)
        return parts

    def _warnings(self, estimate: BuildEstimate, amounts: Amounts) -> Iterator[str]:
        """What a person wants to know before hours, and before a language model is asked a thousand times."""
        calls = estimate.steps.get("calls")
        if calls is not None and calls.part:
            operator = getattr(self._steps["calls"], "operator", None)
            requests = measured("packs", amounts, self._steps["calls"], self._steps) * calls.part
            limit = ", ".join(f"{name} {most:g}" for name, most in getattr(operator, "budget", {}).items())
            bound = f"the budget ends them at {limit}" if limit else "`budget` in `written` would bound them"
            yield f"about {requests:,.0f} requests to a language model, {duration(calls.seconds or 0.0)}; {bound}"
        if estimate.seconds >= WARNED_SECONDS:
            costly = sorted(estimate.steps, key=lambda name: -(estimate.steps[name].seconds or 0.0))[:3]
            shown = ", ".join(f"{name} {duration(estimate.steps[name].seconds or 0.0)}" for name in costly)
            yield (
                f"this takes about {duration(estimate.seconds)}: {shown}. It may be stopped at any time and carried "
                f"on; `--until {costly[0]}` stops behind the costliest step"
            )

    def now(self, step: Step, status: Status) -> Work:
        """The work of a step that is about to run, by what is committed."""
        rate, part = RATES.get(step.name), _part(status)
        if isinstance(step, ReadStep):
            return self.work(step.name, unread(step, part, self.pace), 1.0)
        amounts = with_rows_to_come(committed(self._store))
        return self.work(step.name, amounts, 1.0 if rate is not None and rate.whole else part or 1.0)

    def seconds(self, name: str, work: Work, todo: float) -> float | None:
        """Seconds of a step, ``todo`` of whose rows are left; None where nothing is known of it."""
        fixed, each = (self.pace.ratio(key) for key in self.keys(name))
        if name not in RATES and fixed is None and each is None:
            return todo / self._past[name] if name in self._past else None
        slowness, each = self.machine.slowness, each or self._slowness(name)
        seconds = work.fixed * (fixed or slowness) + work.amount * each + work.compiling * slowness
        return seconds * self.machine.crowding

    def work(self, name: str, amounts: Amounts, part: float) -> Work:
        """The work of the step ``name`` on ``part`` of its rows, in core seconds of the shipped rates' machine."""
        rate, step = RATES.get(name), self._steps.get(name)
        if rate is None:
            return Work(0.1, 1e-4 * amounts.documents * part, 0.0)
        amount = amounts.events if step is None else measured(rate.measure, amounts, step, self._steps)
        share = 1.0 if rate.measure == "bytes" else part  # what is read already has no bytes here
        divided = self._ways(rate, amounts.characters * part)
        compiling = 0.0 if name not in KERNELS or is_compiled(KERNELS[name]) else rate.first(amount * share)
        fixed = rate.fixed * (loading(getattr(step, "operator", None)) if rate.measure in MODELS else 1.0)
        return Work(fixed, amount * share * rate.per * self._of_model(rate) / divided, compiling)

    def keys(self, name: str) -> tuple[str, str]:
        """What the pace of a step is kept under: of its beginning, and of each of its rows."""
        place = f"{self.machine.engine} {self.machine.device} {name}"
        return f"{place} start", place

    def learn(self, name: str, work: Work, seconds: float) -> None:
        """Take note of what a step took. A small one says how long beginning takes, a large one how long a row does."""
        fixed, each = (self.pace.ratio(key) for key in self.keys(name))
        fixed, each = fixed or self.machine.slowness, each or self._slowness(name)
        alone = seconds / self.machine.crowded
        if work.compiling or max(alone, work.fixed + work.amount) < LEAST_SECONDS:
            return
        begin, rest = self.keys(name)
        if work.amount < LARGE * work.fixed:
            self.pace.learn(begin, work.fixed, max(alone - work.amount * each, 0.2 * alone))
        else:
            self.pace.learn(rest, work.amount, max(alone - work.fixed * fixed, 0.2 * alone))

    def _slowness(self, name: str) -> float:
        """How much slower the rows of a step are here than by the shipped rates, before anything is learnt of it."""
        of_model = name in RATES and RATES[name].measure in MODELS and not self.machine.device.startswith("cuda")
        return self.machine.model_slowness if of_model else self.machine.slowness

    def _of_model(self, rate: Rate) -> float:
        if rate.measure not in MODELS:
            return 1.0
        if self.machine.device.startswith("cuda"):
            return ON_A_GPU
        return 1.0 if has_bfloat16() else WITHOUT_BFLOAT16

    def _ways(self, rate: Rate, characters: float) -> float:
        """By how many processors the work of a step is divided."""
        cores = float(self.machine.processors)
        if self.machine.engine != "ray":
            cores = min(cores, threads()) if rate.measure in MODELS else 1.0
        elif rate.divided:
            cores = min(cores, 1.0 + characters // FRAGMENT_CHARACTERS)
        else:
            cores = min(cores, 8.0) if rate.measure in MODELS else 1.0
        return 1.0 + (THREADS_HELP if rate.measure in MODELS else WORKERS_HELP) * (cores - 1.0)


def _part(status: Status) -> float:
    """The share of a step's rows that is left."""
    if status.done:
        return 0.0
    return min(1.0, status.todo / status.total) if status.total and status.todo else 1.0
