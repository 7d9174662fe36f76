"""Deployments run by a real worker: on a schedule, one at a time, cancelled, and carried on."""

import os
import signal
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from nursery import children
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.dataset import Store

SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "prefect.yaml"


def embedded(store: Store) -> int:
    """How many units have their vector."""
    units = store["units"].snapshot()
    return units.count("embedding IS NOT NULL") if units and "embedding" in units.schema.names else 0


def below(process: int) -> list[int]:
    """All processes that descend from one."""
    return [descendant for child in children(process) for descendant in (child, *below(child))]


def name(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text().strip()


@pytest.fixture
def recipe(tmp_path):
    return tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))


def deploy(server, client, folder, name, parameters, schedules=()):
    """Deploy as deploy/prefect.yaml does, with other parameters and schedules; returns the id of the deployment."""
    file = yaml.safe_load(SHIPPED.read_text())
    file["deployments"][0] |= {"name": name, "parameters": parameters, "schedules": list(schedules)}
    (folder / "prefect.yaml").write_text(yaml.safe_dump(file))
    server.prefect("deploy", "--all", "--prefect-file", str(folder / "prefect.yaml"))
    return client.read_deployment_by_name(f"mnemic-build/{name}").id


def runs(client, deployment, *kinds):
    states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(kinds)))) if kinds else None
    only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    return client.read_flow_runs(deployment_filter=only, flow_run_filter=states)


def until(condition, seconds=240.0):
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not come to pass in time")


def ended(client, run: UUID):
    """The flow run once it has ended."""

    def look():
        task_runs = client.read_flow_run(run)
        return task_runs if task_runs.state.is_final() else None

    return until(look)


@pytest.mark.slow
def test_the_shipped_deployments_are_scheduled_one_run_at_a_time(server, client, worker):
    server.prefect("deploy", "--all", "--prefect-file", str(SHIPPED))
    demo = client.read_deployment_by_name("mnemic-build/demo")
    assert demo.work_pool_name == "mnemic"
    assert demo.global_concurrency_limit.limit == 1
    assert demo.concurrency_options.collision_strategy == "ENQUEUE"
    scheduled = until(lambda: runs(client, demo.id, StateType.SCHEDULED))
    starts = {run.expected_start_time.astimezone(UTC) for run in scheduled}
    assert {(start.hour, start.minute) for start in starts} == {(3, 0)}
    assert min(starts) > datetime.now(UTC)


def tasks(client, run: UUID):
    """The task runs of a flow run that came to `embed` and has ended; the server hears of them a moment later."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))

    def look():
        task_runs = client.read_task_runs(flow_run_filter=of_run)
        complete = any(task.name == "embed" for task in task_runs) and all(task.state.is_final() for task in task_runs)
        return task_runs if complete else None

    return until(look)


@pytest.mark.slow
def test_a_schedule_fires_and_two_runs_of_a_bank_are_never_under_way_at_once(server, client, worker, recipe, tmp_path):
    parameters = {"recipe": recipe, "engine": "inline"}
    # More often, and the runs that wait for the bank hold the server's SQLite locked.
    deployment = deploy(server, client, tmp_path, "often", parameters, [{"interval": 12}])
    until(lambda: len(runs(client, deployment, StateType.COMPLETED)) >= 2)
    client.pause_deployment(deployment)
    done = sorted(runs(client, deployment, StateType.COMPLETED), key=lambda run: run.start_time)
    assert all(run.auto_scheduled for run in done)
    assert all(one.end_time <= other.start_time for one, other in pairwise(done))
    assert not runs(client, deployment, StateType.FAILED, StateType.CRASHED)
    waited = {state.name for run in runs(client, deployment) for state in client.read_flow_run_states(run.id)}
    assert "AwaitingConcurrencySlot" in waited, "no run came due while another was under way, so nothing is shown"
    assert len(mnemic.open_bank(recipe["bank"]).releases()) == 1
    client.delete_deployment(deployment)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inline", "ray"])
def test_a_cancelled_run_commits_what_is_done_and_the_next_one_carries_on(server, client, worker, tmp_path, engine):
    corpus = write_corpus(tmp_path / "corpus", documents=800)
    recipe = tiny_recipe(tmp_path, corpus)
    parameters = {"recipe": recipe, "engine": engine, "commit_every": 2}
    deployment = deploy(server, client, tmp_path, f"cancelled-{engine}", parameters)
    first = client.create_flow_run_from_deployment(deployment).id
    store = Store(recipe["bank"])

    until(lambda: embedded(store))
    client.set_flow_run_state(first, Cancelling())
    run = ended(client, first)
    assert run.state.name == "Cancelled"
    states = {task.name: task.state.name for task in tasks(client, first)}
    assert states.pop("embed") == "Cancelled"
    assert set(states.values()) == {"Completed"}
    shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[first])))
    assert all((artifact.data < 100) == (artifact.key == "step-embed-tiny") for artifact in shown)
    assert {artifact.key: artifact.description for artifact in shown}["step-embed-tiny"] == "stopped"
    assert 0 < embedded(store) < store["units"].require().count()
    assert store["releases"].snapshot() is None

    second = client.create_flow_run_from_deployment(deployment).id
    assert ended(client, second).state.is_completed()
    mnemic.build({**recipe, "bank": str(tmp_path / "undisturbed")})
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(tmp_path / "undisturbed").digest()


@pytest.mark.slow
def test_a_ray_that_dies_in_a_step_is_started_anew_and_the_step_goes_on(server, client, worker, tmp_path):
    recipe = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus", documents=800))
    parameters = {"recipe": recipe, "engine": "ray", "workers": 2, "commit_every": 2}
    run = client.create_flow_run_from_deployment(deploy(server, client, tmp_path, "ray-dies", parameters)).id
    until(lambda: embedded(Store(recipe["bank"])))
    for raylet in (process for process in below(worker.pid) if name(process) == "raylet"):
        for process in (raylet, *below(raylet)):
            os.kill(process, signal.SIGKILL)
    assert ended(client, run).state.is_completed()
    assert {task.name for task in tasks(client, run) if task.run_count > 1} == {"embed"}
    mnemic.build({**recipe, "bank": str(tmp_path / "undisturbed")})
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(tmp_path / "undisturbed").digest()


@pytest.mark.slow
def test_a_run_costs_at_most_ten_seconds_more_than_the_build(server, client, worker, recipe, tmp_path):
    mnemic.build(recipe)
    started = time.monotonic()
    mnemic.build(recipe)
    inline = time.monotonic() - started
    deployment = deploy(server, client, tmp_path, "cost", {"recipe": recipe, "engine": "inline"})
    run = ended(client, client.create_flow_run_from_deployment(deployment).id)
    assert run.state.message.startswith("nothing to do")
    flow, waited = run.total_run_time.total_seconds(), (run.start_time - run.created).total_seconds()
    print(f"inline {inline:.2f} s, as a flow {flow:.2f} s, {waited:.2f} s after it was asked for")
    assert inline < 5.0
    assert flow - inline < 10.0
