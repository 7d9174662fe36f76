"""The flow `mnemic-build`: the steps of a recipe as Prefect tasks.

Prefect owns *when*, Ray owns *where*, Lance owns *what is already done*. So there is one task a step and never one a
shard, no result of a task is kept or cached, and a run that failed, crashed or was cancelled is carried on by the next
one. Tasks run in the flow's own process and thread, where the bank's lease is held and a cancellation arrives. Only the
loss of infrastructure (`Unreachable`: a cluster, or an object store) is worth another try; all other errors would come
again, and are one sentence in task, run and log, without a traceback. As a flow a build takes a second longer, and
three until Prefect has started its process.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.cancellation import Cancellation, was_cancelled
from flows.naming import name_of_build, tag_run
from flows.parameters import RecipeParameter
from flows.progress import ProgressPages, log_lines
from flows.report import show
from flows.tasks import run_as_task
from mnemic.errors import MnemicError
from pipelines.engine import choose_engine
from pipelines.live import duration
from pipelines.options import BuildOptions
from pipelines.run import Building, BuildResult


@flow(
    name="mnemic-build",
    flow_run_name=name_of_build,
    description="Build the bank of a recipe, or carry on where the last build ended.",
    persist_result=False,
)
def build_bank(
    recipe: RecipeParameter,
    bank: str | None = None,
    engine: Literal["inline", "ray"] | None = None,
    address: str | None = None,
    workers: Annotated[int, Field(ge=1)] | None = None,
    device: str | None = None,
    replace: bool = False,
    anew: list[str] | None = None,
    rebalance: bool = False,
    recluster: bool = False,
    begin: str | None = None,
    until: str | None = None,
    only: str | None = None,
    commit_every: Annotated[int, Field(ge=1)] = 16,
) -> State[Any]:
    """Build a bank as a Prefect flow. A bank in an object store is opened with the options of the worker's environment.

    Args:
        recipe: The name of a shipped recipe, the path of a YAML file that the worker sees, or the settings themselves.
        bank: Another place than the recipe's, as the worker sees it.
        engine: Default: MNEMIC_ENGINE of the worker's environment, else ray where it is installed.
        address: A Ray cluster. Default: RAY_ADDRESS of the worker's environment, else Ray is started on its machine.
        workers: Most Ray workers of a step. Default: what fits.
        device: cpu or cuda. Default: cuda where there is one.
        replace: Take over a bank that belongs to another recipe.
        anew: Steps that are computed again although nothing changed.
        rebalance: Deduplicate anew; by default documents of earlier releases stay.
        recluster: Fit a new tree of clusters; by default events join the one there is.
        begin: Begin with this step; refused where one before it has work left.
        until: Stop after this step, without a release.
        only: Run this step alone, without a release.
        commit_every: Fragments in a commit.
    """
    tag_run(recipe.name, bank or recipe.root)
    with ProgressPages(recipe.name) as pages, Cancellation() as cancellation:
        options = BuildOptions(
            bank=bank,
            engine=choose_engine(engine, address, workers),
            device=device,
            replace=replace,
            anew=anew or (),
            rebalance=rebalance,
            recluster=recluster,
            begin=begin,
            until=until,
            only=only,
            commit_every=commit_every,
            sinks=(log_lines(), pages, cancellation),
        )
        try:
            with Building(recipe, options) as building:
                for step in building.steps:
                    _run(building, step.name, partial(building.run, step))
                if options.releases:
                    _run(building, "release", building.release)
                result = building.result()
        except MnemicError as error:
            return Failed(message=str(error), data=error)
    steps = [step.name for step in building.steps] + (["release"] if options.releases else [])
    show(result, building.recipe.name, steps, building.store)
    return Completed(message=_summary(result, until or only))


def _run(building: Building, name: str, work: Callable[[], Any]) -> None:
    """Do a step as a task that is called like it."""

    errors: list[MnemicError] = []

    def step() -> State[Any]:
        before = len(building.done)
        try:
            work()
        except MnemicError as error:
            errors.append(error)
            return Failed(message=str(error), data=error)
        except BaseException as error:
            if not was_cancelled(error):
                raise
            return Cancelled(message="Stopped. Finished work is committed, and the next run carries on.")
        if len(building.done) == before:
            return Completed(message="nothing to do")
        done = building.done[-1]
        return Completed(message=f"{f'{done.rows:,} rows in ' if done.rows else ''}{duration(done.seconds)}")

    state = run_as_task(name, step)
    if state.is_cancelled():
        raise TerminationSignal(signal=signal.SIGTERM)
    if state.is_failed():
        raise errors[-1]


def _summary(result: BuildResult, until: str | None) -> str:
    release = f"release {result.release.name}" if result.release is not None else "no release yet"
    if not result.steps:
        return f"nothing to do ({release})"
    ended = f"stopped after {until}, no release written" if until else release
    return f"{ended}: {len(result.steps)} steps ran in {result.seconds:.0f} s"
