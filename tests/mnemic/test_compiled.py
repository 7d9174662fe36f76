"""Compiling: of several processes one does it, and the others wait and load its work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from mnemic import compiled

ROOT = Path(__file__).parents[2]
KERNELS = """
import numpy as np
from mnemic.compiled import compiled

@compiled
def inner(values):
    return np.sort(values).sum()

@compiled
def outer(values):
    return inner(values) + np.unique(values).sum()
"""
SCRIPT = """
import json, sys
import numba
import numpy as np
import kernels
print("ready", flush=True)
sys.stdin.readline()
total = kernels.outer(np.array([3, 1, 3]))
stats = [one.dispatcher.stats for one in (kernels.inner, kernels.outer)]
print(json.dumps([int(total), sum(sum(one.cache_misses.values()) for one in stats)]))
"""


def test_of_processes_that_begin_together_one_compiles(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", SCRIPT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert {total for total, _ in answers} == {7 + 4}
    assert sum(misses for _, misses in answers) <= 2, "each of the two functions was compiled once"


@pytest.fixture
def another_lock():
    compiled._turn.cache_clear()
    yield
    compiled._turn.cache_clear()


def test_it_is_done_where_no_lock_can_be_taken(another_lock, tmp_path, monkeypatch):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "a file"))
    assert compiled.compiled(_double)(3) == 6


def test_a_process_that_was_stopped_is_waited_for_once(another_lock, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "_PATIENCE", 0.2)
    with FileLock(tmp_path / "compiling.lock", is_singleton=False):
        assert compiled.compiled(_double)(4) == 8
        turn = compiled._turn(os.getpid())
        assert turn.timeout == 0 and not turn.is_locked


def test_a_fork_compiles_too(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    code = """
import os, numpy as np, kernels
assert kernels.inner(np.array([1, 2])) == 3
child = os.fork()
if child == 0:
    os._exit(int(kernels.outer(np.array([3, 1, 3]))))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(ended.stdout) == 11


def test_numba_may_be_told_not_to_compile(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    code = "import kernels, numpy as np; print(kernels.outer(np.array([3, 1, 3])))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "NUMBA_DISABLE_JIT": "1"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(ended.stdout) == 11


def _double(value):
    return 2 * value
