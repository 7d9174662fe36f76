"""Run a recipe: take the lease, do what each step has left, write a release if anything changed."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

import mnemic
from mnemic.advice import for_bank
from mnemic.dataset import Dataset, Store
from mnemic.dataset.fence import Fence
from mnemic.dataset.lease import Lease
from mnemic.dataset.write import append_rows
from mnemic.errors import MnemicError, OtherRecipe, Unreachable
from mnemic.facts import mapping
from mnemic.hardware import checked_device, default_device, device_name
from mnemic.release import Release, releases
from mnemic.schema import RUNS
from pipelines.engine import choose_engine
from pipelines.engine.contracts import failed, last_lines
from pipelines.estimate.forecast import Forecast
from pipelines.estimate.machine import Machine
from pipelines.heads import go_back
from pipelines.options import BuildOptions
from pipelines.pins import RECORD as RELEASE
from pipelines.progress import ProgressEvent
from pipelines.recipe import Recipe, load_recipe
from pipelines.release import release_state, write_release
from pipelines.sources.listing import items_of
from pipelines.steps import Context, Status, Step, steps_of
from pipelines.steps.anew import with_anew
from pipelines.steps.contracts import state_of
from pipelines.steps.curate import forget_decisions
from pipelines.steps.datasets import DeclaredStore, known_datasets
from pipelines.stretch import check_ground, stretch
from pipelines.upkeep.finish import finish_interrupted

OWNER = "recipe"
"""Row of `runs` that says which recipe the bank belongs to."""


@dataclass(frozen=True)
class StepResult:
    step: str
    rows: int
    rejects: int
    seconds: float


@dataclass(frozen=True)
class BuildResult:
    """The outcome of a build: the steps that ran (none, when nothing had changed) and the newest release."""

    bank: str
    run: str
    steps: tuple[StepResult, ...]
    release: Release | None
    seconds: float
    expected: float = 0.0  # seconds that were expected when it began; 0 where nothing was


class Building:
    """A build under way: it holds the bank's lease, and has the steps to run one after another.

    ``steps`` are run in their order by `run`; each does what is left of it, and nothing when nothing is. `release`
    comes last. The next build carries on where one was interrupted, between two steps or in one. ``keywords`` are
    fields of `BuildOptions`.
    """

    def __init__(
        self,
        recipe: str | Path | Mapping[str, Any] | Recipe,
        options: BuildOptions | None = None,
        **keywords: Any,
    ) -> None:
        self.recipe, self.options = load_recipe(recipe), replace(options or BuildOptions(), **keywords)
        engine = self.options.engine
        self._engine = choose_engine(engine) if engine is None or isinstance(engine, str) else engine
        device = self.options.device
        self._device = device_name(device) if self._engine.distributed else checked_device(device)
        root = str(self.options.bank or self.recipe.root)
        place = root if "://" in root else os.path.abspath(root)
        self._all_steps = steps_of(self.recipe, self._device)
        self._bank = Store(place, self.options.storage_options or self.recipe.connection)
        self.store = DeclaredStore(self._bank, known_datasets(self._all_steps))
        self.steps = stretch(with_anew(self._all_steps, self.options.computed_anew), self.options)
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self.done: list[StepResult] = []
        self._started = time.monotonic()
        self._forecast: Forecast | None = None
        self._expected, self._ended = 0.0, False
        self._exit = contextlib.ExitStack()

    def _emit(self, event: ProgressEvent) -> None:
        if "BANK" in event.message:
            event = replace(event, message=for_bank(event.message, self.store.root))
        for sink in self.options.sinks:
            sink(event)

    def __enter__(self) -> Building:
        self._emit(ProgressEvent("run-start", self.run_id, message=f"bank {self.store.root}"))
        for source in self.recipe.sources:
            items_of(source)  # a missing path is told before anything is written
        if "://" not in self.store.root:
            Path(self.store.root).mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            lease = opened.enter_context(Lease(self.store["leases"], self.run_id, self._tell_waiting))
            self._fence = Fence(lease)
            self.store = self.store.guarded(self._fence)
            self._fence.take_over(self._guarded())
            running = opened.enter_context(self._engine)
            go_back(self.store, known_datasets(self._all_steps), self.run_id, self._emit)
            _check_owner(self.store, self.recipe, self.run_id, self.options.replace)
            self._context = Context(
                store=self.store,
                lease=lease,
                engine=running,
                run=self.run_id,
                device=self._device,
                sink=self._emit,
                revision=_revision(),
                commit_every=self.options.commit_every,
            )
            everything = replace(self._context, store=self._bank.guarded(self._fence))
            finish_interrupted(everything, self._fence, frozenset(known_datasets(self._all_steps)))
            self._remove_orphans()
            forget_decisions(self._context.of("curate"), self._all_steps)
            check_ground(self._all_steps, self.options, self.store)
            self._exit = opened.pop_all()
        return self

    def _tell_waiting(self, sentence: str) -> None:
        self._emit(ProgressEvent("waiting", self.run_id, message=sentence))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forecast is not None:
            self._forecast.close(self._ended)
        self._exit.__exit__(kind, error, trace)

    def run(self, step: Step) -> StepResult | None:
        """Do what is left of ``step``; None when that is nothing. Raises when what it left is nothing to go on with."""
        result = None
        self._emit(ProgressEvent("checking", self.run_id, step.name, *self._place(step.name)))
        try:
            status = state_of(step, self.store)
            if not status.done:
                self._foresee(step, status)
                result = self._run(step.name, step.record.fingerprint, step.run)
            step.check(self.store, self.recipe.max_rejects)
        except MnemicError as error:
            error.args = (for_bank(str(error), self.store.root),)
            raise
        return result

    def _foresee(self, step: Step, status: Status) -> None:
        """Before the first step that works: say how long the build will take. Before each: what it will take."""
        if self._forecast is None:
            machine = Machine.here(self._engine.name, self._device)
            self._forecast = Forecast(self.store, self._all_steps, self.steps, machine)
            self._forecast.begin(step, status, self.options.releases)
            self._expected = self._forecast.estimate.seconds
            if words := self._forecast.words:
                self._emit(ProgressEvent("estimate", self.run_id, seconds=self._expected, message=words))
        self._forecast.expect(step, status)

    def release(self) -> Release | None:
        """Write a release if anything changed since the last one, and return the newest."""
        if not release_state(self.store, self._all_steps).done:
            results = {result.step: {"seconds": result.seconds, "rows": result.rows} for result in self.done}
            # Workers of a killed build may have written on for a moment after this one had cleaned up.
            self._remove_orphans()

            def write(context: Context) -> None:
                write_release(context, self.recipe, self._all_steps, results)

            self._run("release", RELEASE.fingerprint, write)
        written = releases(self.store)
        return written[-1] if written else None

    def result(self) -> BuildResult:
        written = releases(self.store)
        seconds = time.monotonic() - self._started
        self._ended = True
        self._emit(ProgressEvent("run-end", self.run_id, seconds=seconds))
        newest = written[-1] if written else None
        return BuildResult(self.store.root, self.run_id, tuple(self.done), newest, seconds, self._expected)

    def _guarded(self) -> list[Dataset]:
        """All datasets of the bank but that of the lease."""
        return [self.store[name] for name in known_datasets(self._all_steps) if name != "leases"]

    def _remove_orphans(self) -> None:
        """Delete files that no version names: at once where nobody can be left who would commit them, else when old."""
        for spec in known_datasets(self._all_steps).values():
            if spec.cleaned:
                self.store[spec.name].remove_orphans(self._context.lease.settled)

    def _run(self, name: str, fingerprint: str, action: Callable[[Context], None]) -> StepResult:
        self._fence.undo(self._guarded())
        mine = self._context.of(name)
        started, clock = datetime.now(UTC), time.monotonic()
        number, of = self._place(name)
        mine.emit("step-start", done=number, total=of)
        try:
            action(mine)
        except Exception as error:
            if not isinstance(error, Unreachable):  # a store that does not answer would be waited for once more
                self._note(mine, fingerprint, started, time.monotonic() - clock, error)
            if isinstance(error, MnemicError | OSError):
                raise
            raise failed(name, "", error) from error
        seconds = time.monotonic() - clock
        self._note(mine, fingerprint, started, seconds)
        if self._forecast is not None:
            self._forecast.learn(name, seconds)
        mine.emit("step-end", done=mine.tally.rows, total=mine.tally.rows, unit="rows", seconds=seconds)
        self.done.append(StepResult(name, mine.tally.rows, mine.tally.rejects, seconds))
        return self.done[-1]

    def _place(self, name: str) -> tuple[int, int]:
        """Which step it is of how many, the release counted last."""
        names = [*(step.name for step in self.steps), *(["release"] if self.options.releases else [])]
        return (names.index(name) + 1, len(names)) if name in names else (0, 0)

    def _note(
        self, context: Context, fingerprint: str, started: datetime, seconds: float, error: Exception | None = None
    ) -> None:
        """Write the row of `runs`. A failed step is noted with the last lines of its worker, if it can be."""
        failure = {} if error is None else {"failed": str(error), "log": getattr(error, "log", ()) or last_lines(error)}
        row = {
            "run": context.run,
            "step": context.step,
            "fingerprint": fingerprint,
            "started": started,
            "seconds": seconds,
            "rows": context.tally.rows,
            "rejects": context.tally.rejects,
            "record": json.dumps({**_circumstances(context), **failure}),
        }
        with contextlib.suppress(Exception) if error is not None else contextlib.nullcontext():
            table = pa.Table.from_pylist([row], schema=RUNS)
            append_rows(context.store["runs"], table, RUNS, {"mnemic.run": context.run})


def build(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    options: BuildOptions | None = None,
    **keywords: Any,
) -> BuildResult:
    """Build the bank of ``recipe``, or carry on where the last build ended.

    ``keywords`` are the fields of `BuildOptions`: bank, engine, device, replace, anew, rebalance, recluster, begin,
    until, only, commit_every, storage_options, sinks. Raises ``MnemicError`` subclasses whose messages say what to do.
    """
    with Building(recipe, options, **keywords) as building:
        for step in building.steps:
            building.run(step)
        if building.options.releases:
            building.release()
        return building.result()


def _check_owner(store: Store, recipe: Recipe, run: str, replace: bool) -> None:
    """One bank, one recipe."""
    snapshot = store["runs"].snapshot()
    owners = [] if snapshot is None else snapshot.in_commit_order(["record"], f"step = '{OWNER}'").to_pylist()
    if owners:
        owner = mapping(owners[-1]["record"], f"The owner of {store.root}").get("name")
        if owner == recipe.name:
            return
        if not replace:
            raise OtherRecipe(
                f"The bank {store.root} belongs to the recipe {owner!r}, and this is {recipe.name!r}. Give this recipe "
                "another `bank`, or let it take the bank over with --replace (earlier releases stay readable)."
            )
    row = {
        "run": run,
        "step": OWNER,
        "fingerprint": "",
        "started": datetime.now(UTC),
        "seconds": 0.0,
        "rows": 0,
        "rejects": 0,
        "record": json.dumps({"name": recipe.name}),
    }
    append_rows(store["runs"], pa.Table.from_pylist([row], schema=RUNS), RUNS, {"mnemic.run": run})


def _circumstances(context: Context) -> dict[str, Any]:
    """The circumstances of a run that are in no fingerprint, for readers of lineage."""
    torch = sys.modules.get("torch")
    return {
        "engine": context.engine.name,
        "device": context.device or (default_device() if torch and not context.engine.distributed else None),
        "threads": torch.get_num_threads() if torch else None,
        "torch": str(torch.__version__) if torch else None,
        "mnemic": mnemic.__version__,
        "revision": context.revision,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }


def _revision() -> str:
    """Code revision: the git commit of a checkout, else the installed version."""
    folder = Path(__file__).resolve().parent.parent
    if (folder / ".git").exists():
        try:
            command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return mnemic.__version__
