"""Run a recipe: take the lease, do what each step has left, write a release if anything changed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.lease import Lease
from mnemic.dataset.write import append_rows
from mnemic.errors import OtherRecipe, RecipeError
from mnemic.hardware import checked_device
from mnemic.release import PINNED, Release, releases
from mnemic.schema import RUNS
from pipelines.engine import Engine, InlineEngine
from pipelines.progress import Event, Sink
from pipelines.recipe import Recipe, load_recipe
from pipelines.release import RECORD as RELEASE
from pipelines.release import release_state, write_release
from pipelines.steps import Context, Step, steps_of

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
    """What a build did: the steps that ran (none, when nothing had changed) and the newest release."""

    bank: str
    run: str
    steps: tuple[StepResult, ...]
    release: Release | None
    seconds: float


def build(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    bank: str | Path | None = None,
    engine: Engine | None = None,
    device: str | None = None,
    replace: bool = False,
    until: str | None = None,
    commit_every: int = 16,
    storage_options: Mapping[str, str] | None = None,
    sinks: Sequence[Sink] = (),
) -> BuildResult:
    """Build the bank of ``recipe``, or carry on where the last build ended.

    ``until`` names the last step to run; no release is written then. ``replace`` lets this recipe take over a bank that
    belongs to another one. Raises ``MnemicError`` subclasses whose messages say what to do.
    """
    loaded = load_recipe(recipe)
    device = checked_device(device)
    if commit_every < 1:
        raise RecipeError(f"Commits of {commit_every} fragments cannot be made; set commit_every to at least 1.")
    store = Store(bank or loaded.root, storage_options)
    steps = _until(steps_of(loaded, device), until)
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    started = time.monotonic()

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    emit(Event("run-start", run, message=f"bank {store.root}"))
    for source in loaded.sources:
        source.manifest()  # a missing path is told before anything is written
    if "://" not in store.root:
        Path(store.root).mkdir(parents=True, exist_ok=True)
    done: list[StepResult] = []
    with Lease(store["leases"], run) as lease, engine or InlineEngine() as running:
        _check_owner(store, loaded, run, replace)
        context = Context(
            store=store,
            lease=lease,
            engine=running,
            run=run,
            wanted_device=device,
            sink=emit,
            revision=_revision(),
            commit_every=commit_every,
        )
        for name in (*PINNED, "runs", "releases"):
            store[name].remove_orphans()
        for step in steps:
            if not step.state(store).done:
                done.append(_run_step(context, step.name, step.record.fingerprint, step.run))
            step.check(store, loaded.max_rejects)
        if until is None and not release_state(store, steps).done:
            results = {result.step: {"seconds": result.seconds, "rows": result.rows} for result in done}

            def release(step_context: Context) -> None:
                write_release(step_context, loaded, steps, results)

            done.append(_run_step(context, "release", RELEASE.fingerprint, release))
    found = releases(store)
    seconds = time.monotonic() - started
    emit(Event("run-end", run, seconds=seconds))
    return BuildResult(store.root, run, tuple(done), found[-1] if found else None, seconds)


def _run_step(context: Context, name: str, fingerprint: str, action: Callable[[Context], None]) -> StepResult:
    mine = context.of(name)
    started, clock = datetime.now(UTC), time.monotonic()
    mine.emit("step-start")
    action(mine)
    seconds = time.monotonic() - clock
    row = {
        "run": context.run,
        "step": name,
        "fingerprint": fingerprint,
        "started": started,
        "seconds": seconds,
        "rows": mine.tally.rows,
        "rejects": mine.tally.rejects,
        "record": json.dumps(_circumstances(context)),
    }
    append_rows(context.store["runs"], pa.Table.from_pylist([row], schema=RUNS), RUNS, {"mnemic.run": context.run})
    mine.emit("step-end", done=mine.tally.rows, total=mine.tally.rows, unit="rows", seconds=seconds)
    return StepResult(name, mine.tally.rows, mine.tally.rejects, seconds)


def _until(steps: list[Step], until: str | None) -> list[Step]:
    if until is None:
        return steps
    names = [step.name for step in steps]
    if until not in names:
        raise RecipeError(
            f"There is no step {until!r} to stop after. The steps of this recipe are: {', '.join(names)}."
        )
    return steps[: names.index(until) + 1]


def _check_owner(store: Store, recipe: Recipe, run: str, replace: bool) -> None:
    """One bank, one recipe."""
    snapshot = store["runs"].snapshot()
    owners = [] if snapshot is None else snapshot.table(["started", "record"], f"step = '{OWNER}'").to_pylist()
    if owners:
        owner = json.loads(max(owners, key=lambda row: row["started"])["record"])["name"]
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
    """What a reader of lineage wants to know and no fingerprint holds."""
    torch = sys.modules.get("torch")
    return {
        "engine": context.engine.name,
        "device": context.device if torch else None,
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
