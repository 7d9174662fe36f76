"""A step of a build, or a chore of upkeep, as a Prefect task that is called like it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from mnemic.errors import Unreachable

RETRIES = 2
RETRY_SECONDS = 5.0


def run_as_task(name: str, work: Callable[[], State[Any]]) -> State[Any]:
    """Run ``work`` as a task called ``name``, and give its state. Only the loss of infrastructure is tried again."""
    called = task(
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=infrastructure_was_lost,
    )
    return called(work)()


def infrastructure_was_lost(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a task is worth another try."""
    return isinstance(state.data, Unreachable)
