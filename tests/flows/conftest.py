"""A Prefect server for these tests: on a free port of this machine, with a home that goes with it, and no telemetry."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DEADLINE = 300.0

pytest.importorskip("prefect")
HOME = Path(tempfile.mkdtemp(prefix="mnemic-prefect-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ |= {
    "PREFECT_HOME": str(HOME),  # read when prefect is imported
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",  # a run that waits for another looks so often
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT20S",  # runs are planned so far ahead
    "DO_NOT_TRACK": "1",
}


class PrefectServer:
    """``environment`` is what a process needs to speak to it, and to import this checkout."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {**os.environ, "PREFECT_API_URL": f"{self.url}/api", "PYTHONPATH": str(ROOT)}
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        self.process = self.start(command, "server.log")

    def start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        """Start a command of Prefect's in the background."""
        with open(HOME / log, "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", *command], env=self.environment, cwd=HOME, stdout=output, stderr=output
            )

    def prefect(self, *arguments: str) -> str:
        """Run a command of Prefect's in the checkout, and return what it printed."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait(self) -> None:
        """Until it answers, and is ours: it says whose home it has."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/admin/settings", timeout=5) as answer:
                    assert json.load(answer)["home"] == str(HOME)
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"The server did not start: {(HOME / 'server.log').read_text()[-2000:]}")


@pytest.fixture(scope="session")
def server() -> Iterator[PrefectServer]:
    """In this process too, flows speak to it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler
    from prefect.settings import PREFECT_API_URL, temporary_settings

    started = PrefectServer()
    try:
        started.wait()
        with temporary_settings({PREFECT_API_URL: started.environment["PREFECT_API_URL"]}):
            yield started
            APILogHandler().flush()  # what is left would be sent at exit, when nobody answers any more
            EventsWorker.drain_all()
    finally:
        stop(started.process)


@pytest.fixture(scope="session")
def client(server):
    from prefect.client.orchestration import get_client

    return get_client(sync_client=True)


@pytest.fixture(scope="session")
def worker(server):
    """A worker of the pool `mnemic`, as a person would start one."""
    server.prefect("work-pool", "create", "mnemic", "--type", "process")
    server.environment["PREFECT_WORKER_QUERY_SECONDS"] = "1"
    process = server.start(["prefect", "worker", "start", "--pool", "mnemic"], "worker.log")
    yield process
    stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
