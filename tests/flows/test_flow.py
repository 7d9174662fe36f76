"""The flows against a real server: one task a step, artifacts, retries, and what all that costs.

All default tests that need the server are here, as it takes the processor time of many builds: a file has one process.
"""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.logging.handlers import APILogHandler
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from flows import tasks as tasks_of_prefect
from flows.build import build_bank
from flows.naming import place
from flows.upkeep import keep_up
from mnemic.errors import StepError, Unreachable
from pipelines.run import Building

STEPS = ["read", "signature", "deduplicate", "units", "embed", "segment", "cluster", "split", "datastore"]
STEPS += ["neighbours", "teacher", "imitate", "release"]


@pytest.fixture
def recipe(tmp_path):
    return tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))


def run(recipe, **parameters):
    """The final state of a run in this process; it fails without raising."""
    return build_bank(recipe, **parameters, return_state=True)


def tasks(client, state, steps):
    """Task runs by name, in their order; the server hears of each and of its end a moment later."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    for _ in range(200):
        task_runs = client.read_task_runs(flow_run_filter=of_run)
        if len(task_runs) >= len(steps) and all(task.state and task.state.is_final() for task in task_runs):
            break
        time.sleep(0.1)
    return {task.name: task for task in sorted(task_runs, key=lambda task: task.start_time)}


def artifacts(client, state):
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=of_run)}


def logs(client, state):
    """What the log of the run says, as far as it has come."""
    APILogHandler().flush()
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    for _ in range(50):
        messages = [log.message for log in client.read_logs(of_run)]
        if any(message.startswith("Finished in state") for message in messages):
            break
        time.sleep(0.1)
    return messages


def test_a_build_is_one_task_a_step_and_leaves_its_release_on_the_page(client, recipe):
    state = run(recipe)
    assert state.is_completed(), state.message
    done = tasks(client, state, STEPS)
    assert list(done) == STEPS
    assert all(task.state.is_completed() and task.run_count == 1 for task in done.values())
    assert done["read"].state.message.startswith("40 rows in ")

    pages = artifacts(client, state)
    about = {"steps", "release", "rejects", "curves", "clusters", "recall", "report"}
    assert set(pages) == {f"{name}-tiny" for name in (*about, *(f"step-{name}" for name in STEPS))}
    assert all(pages[f"step-{name}-tiny"].data == 100.0 for name in STEPS)
    assert pages["step-embed-tiny"].task_run_id == done["embed"].id

    bank = mnemic.open_bank(recipe["bank"])
    page = pages["release-tiny"].data
    assert f"bank = mnemic.open_bank('{recipe['bank']}', release='{bank.release.name}')" in page
    assert "| documents | 40 |" in page
    assert all(
        f"| {name} | " in page and record["fingerprint"][:12] in page for name, record in bank.release.lineage.items()
    )

    rejects = json.loads(pages["rejects-tiny"].data)
    assert [row["locator"] for row in rejects] == ["delta/broken.txt", r"notes.jsonl\#2"]
    assert "UTF-8" in rejects[0]["reason"] and "2 inputs" in pages["rejects-tiny"].description
    curves = {row["metric"]: row["curve"] for row in json.loads(pages["curves-tiny"].data) if row["memory"] == "mlp"}
    assert any(set(curve) & set("▂▃▄▅▆▇█") for curve in curves.values()), curves
    assert sum(int(row["events"].replace(",", "")) for row in json.loads(pages["clusters-tiny"].data)) > 100
    report = Path(f"{recipe['bank']}.cache", "report.html")
    assert report.is_file() and report.as_uri() in pages["report-tiny"].data
    flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert flow_run.name == f"tiny in {place(recipe['bank'])}"
    assert {"mnemic", "recipe: tiny"} <= set(flow_run.tags) and any(tag.startswith("bank: ") for tag in flow_run.tags)

    for text in bank.dataset("events").table(["text"])["text"].to_pylist():
        assert all(text not in str(artifact.data) + artifact.description for artifact in pages.values())


def test_a_run_that_has_nothing_to_do_costs_little(client, tiny, tmp_path):
    recipe = tiny.copy(tmp_path)
    started = time.monotonic()
    mnemic.build(recipe)
    inline = time.monotonic() - started
    started = time.monotonic()
    state = run(recipe)
    seconds = time.monotonic() - started
    assert state.message.startswith("nothing to do (release ")
    done = tasks(client, state, STEPS)
    assert list(done) == STEPS
    assert {task.state.name for task in done.values()} == {"Completed"}
    assert {task.state.message for task in done.values()} == {"nothing to do"}
    assert inline < 5.0
    assert seconds - inline < 10.0
    assert set(artifacts(client, state)) == {"steps-tiny", "release-tiny"}


def test_until_stops_after_a_step_without_a_release(client, recipe):
    state = run(recipe, until="units")
    assert state.message.startswith("stopped after units, no release written: 4 steps ran")
    assert list(tasks(client, state, STEPS[:4])) == STEPS[:4]
    assert "release-tiny" not in artifacts(client, state)


def test_an_error_that_would_come_again_is_not_retried(client, recipe):
    state = run({**recipe, "max_rejects": 0.0, "max_document_bytes": 400})
    assert state.is_failed()
    done = tasks(client, state, ["read"])
    assert list(done) == ["read"]
    assert done["read"].run_count == 1
    assert "max_rejects" in state.message and f"mnemic show {recipe['bank']} --failures" in state.message
    assert done["read"].state.message == state.message
    with pytest.raises(StepError, match="max_rejects"):
        state.result()
    assert not [log for log in logs(client, state) if "Traceback" in log or log.count("\n") > 1], "one sentence"


def test_the_loss_of_infrastructure_is_retried_within_the_run(client, recipe, monkeypatch):
    monkeypatch.setattr(tasks_of_prefect, "RETRY_SECONDS", 0.1)
    lost = {"embed": 2}
    real = Building.run

    def fails(self, step):
        if lost.get(step.name):
            lost[step.name] -= 1
            raise Unreachable("The cluster does not answer; look after it.")
        return real(self, step)

    monkeypatch.setattr(Building, "run", fails)
    state = run(recipe, until="segment")
    assert state.is_completed()
    done = tasks(client, state, STEPS[: STEPS.index("segment") + 1])
    assert done["embed"].run_count == 3
    assert {task.run_count for name, task in done.items() if name != "embed"} == {1}

    lost["embed"] = 3
    state = run(recipe, until="segment")
    assert state.is_failed()
    assert list(tasks(client, state, STEPS[:5])) == STEPS[:5]


def test_a_server_that_does_not_answer_for_a_while_does_not_harm_a_build(server, client, recipe):
    """It is stopped in the first step that is seen and goes on after three seconds, when the build is over or waits."""

    def hiccup():
        while not os.path.isdir(f"{recipe['bank']}/documents.lance"):
            time.sleep(0.01)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        server.process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=hiccup)
    thread.start()
    state = run(recipe, until="units")
    thread.join()
    assert state.is_completed()
    assert list(tasks(client, state, STEPS[:4])) == STEPS[:4]


def test_nothing_is_dropped_from_a_damaged_bank(client, months, tmp_path):
    bank = months.copy(tmp_path)
    (file, *_) = mnemic.open_bank(bank.bank).dataset("units").fragments[0].files
    os.unlink(Path(bank.bank, "units.lance", "data", file))
    state = keep_up(bank.bank, keep=1, keep_monthly=0, return_state=True)
    assert state.is_failed() and "is damaged" in state.message
    assert len(mnemic.open_bank(bank.bank).releases()) == len(bank.names)


def test_the_chores_leave_a_table(client, months, tmp_path):
    bank = months.copy(tmp_path)
    keep_up(bank.bank, keep=1, keep_monthly=0)
    assert len(mnemic.open_bank(bank.bank).releases()) == 1
    tables = [str(one.data) for one in client.read_artifacts() if (one.key or "").startswith("upkeep-")]
    chores = ("verify", "compact", "prune", "drift", "due")
    assert any(all(name in table for name in chores) for table in tables)  # others are of other tests
