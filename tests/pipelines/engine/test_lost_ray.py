"""Ray itself dies, or takes workers away: this needs a Ray of its own, so it stands alone."""

import os
import signal
import sys
import time
from pathlib import Path

import cloudpickle
import pytest

from mnemic.errors import StepError, Unreachable
from pipelines.engine import Job, choose_engine

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.mark.slow
def test_after_the_death_of_its_node_the_next_job_starts_ray_again():
    def work(item):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    with choose_engine("ray", workers=1) as engine:
        try:
            list(engine.map(Job("embed", lambda: work), [1, 2]))
        except Unreachable as error:
            assert "Ray died on this machine during the step embed" in str(error)
        else:
            raise AssertionError("the death of the node was not noticed")
        assert list(engine.map(Job("embed", lambda: lambda item: item), [1])) == [1]


@pytest.mark.slow
def test_a_node_without_memory_is_told(monkeypatch):
    """Ray takes the worker away that fills the node; its threshold is set 1.5 GB above what is in use now."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    total, _, available = (int(line.split()[1]) for line in lines[:3])
    monkeypatch.setenv("RAY_memory_usage_threshold", str(min(0.95, (total - available + 1.5e6) / total)))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")

    def work(item):
        memory = []
        while item == 1 and len(memory) < 40:
            memory.append(bytearray(b"x" * 100_000_000))
            time.sleep(0.1)
        return item

    with choose_engine("ray", workers=1) as engine:
        results, items = engine.map(Job("embed", lambda: work), [0, 1, 2]), []
        with pytest.raises(StepError, match=r"lost 3 workers on 1: the node ran out of memory.*fewer workers"):
            items.extend(results)
