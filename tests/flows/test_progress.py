"""Progress is shown from a thread; a server that fails costs the build nothing."""

import threading
import time

import pytest

from flows import progress
from flows.progress import ProgressPages, log_lines
from pipelines.progress import ProgressEvent


def step(*events: ProgressEvent) -> list[ProgressEvent]:
    return [ProgressEvent("step-start", "run", "embed"), *events]


def counted(done: int) -> ProgressEvent:
    return ProgressEvent("progress", "run", "embed", done=done, total=1000, unit="rows")


@pytest.fixture
def posts(monkeypatch):
    posted = []
    monkeypatch.setattr(progress, "create_progress_artifact", lambda *what: posted.append(what) or "id")
    monkeypatch.setattr(progress, "update_progress_artifact", lambda _, *what: posted.append(what))
    return posted


def test_the_latest_is_shown_now_and_then_and_the_end_at_once(posts):
    started = time.monotonic()
    with ProgressPages("tiny", every=0.2) as pages:
        for event in step(*map(counted, range(0, 1000, 10))):
            pages(event)
            time.sleep(0.005)
        pages(ProgressEvent("step-end", "run", "embed", done=1000, total=1000, unit="rows", seconds=0.5))
        assert posts[0][1] == "step-embed-tiny"
        assert 3 <= len(posts) <= 2 + (time.monotonic() - started) / 0.2, "one in each stretch, and the end"
        assert posts[-2][1].startswith(f"{posts[-2][0] * 10:,.0f} of 1,000 rows, ")
        assert posts[-1] == (100.0, "1,000 rows in 0.5 s")


def test_a_step_that_does_not_end_is_shown_as_stopped(posts):
    with ProgressPages("tiny") as pages:
        for event in step(counted(250)):
            pages(event)
    assert posts[-1] == (25.0, "stopped")


def test_a_server_that_fails_is_told_once_and_waited_for_never(monkeypatch, posts):
    messages = []

    def fails(*what):
        raise ConnectionError("nobody answers")

    class Log:
        def warning(self, text, *values):
            messages.append(text % values)

    monkeypatch.setattr(progress, "create_progress_artifact", fails)
    monkeypatch.setattr(progress, "get_run_logger", Log)
    started = time.monotonic()
    with ProgressPages("tiny", every=0.01) as pages:
        for event in step(counted(250)):
            pages(event)
        time.sleep(0.1)
    for thread in threading.enumerate():
        if thread.name == "progress of embed":
            thread.join()
    assert messages == ["The progress of embed cannot be shown (nobody answers)."]
    assert time.monotonic() - started < 2.0
    assert posts == []


def test_control_codes_of_a_corpus_do_not_reach_the_log(monkeypatch):
    messages = []

    class Log:
        def info(self, text, *values):
            messages.append(text % values)

    monkeypatch.setattr(progress, "get_run_logger", Log)
    log_lines()(ProgressEvent("reject", "run", "read", message="  left out: \x1b]0;x\x07.txt: 100%s of it"))
    assert messages == ["left out: ]0;x.txt: 100%s of it"]
