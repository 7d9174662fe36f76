"""A process is dead when that is proven, and not when it cannot be seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnemic.dataset import process
from mnemic.dataset.process import Life, life, process_identity

NOBODY = 4_194_305  # more than any process number


@pytest.fixture
def other():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()


@pytest.fixture
def hidden(monkeypatch):
    """A host without `/proc`, or one that hides the processes of others."""

    def unseen(self, *args, **kwargs):
        raise FileNotFoundError(str(self))

    monkeypatch.setattr(Path, "read_text", unseen)


def test_a_process_that_runs_and_one_that_has_ended(other):
    started = process_identity(other.pid)
    assert started and life(other.pid, started) is Life.RUNS
    other.kill()
    while life(other.pid, started) is Life.RUNS:
        pass
    assert life(other.pid, started) is Life.DEAD, "nobody has waited for it yet"
    other.wait()
    assert life(other.pid, started) is Life.DEAD


def test_a_number_that_was_given_to_another_process_since(other):
    assert life(other.pid, "12345") is Life.DEAD


def test_a_stopped_process_may_go_on(other):
    import signal

    started = process_identity(other.pid)
    os.kill(other.pid, signal.SIGSTOP)
    os.waitpid(other.pid, os.WUNTRACED)
    assert life(other.pid, started) is Life.UNKNOWN


def test_a_process_that_cannot_be_read_is_not_dead(other, hidden):
    assert process_identity(other.pid) == ""
    assert life(other.pid, "12345") is Life.UNKNOWN
    assert life(other.pid, "") is Life.UNKNOWN
    assert life(NOBODY, "") is Life.DEAD, "the operating system knows no such number"


def test_a_process_of_somebody_else_is_not_dead(hidden, monkeypatch):
    def refused(pid, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert life(1, "1") is Life.UNKNOWN


def test_a_host_whose_boot_has_no_name_proves_nothing(hidden, monkeypatch):
    monkeypatch.setattr(process.subprocess, "run", refuse_to_run)
    assert not process.proves(process.host_identity())
    assert process.proves("host/a5f3/pid:[1]") and not process.proves("elsewhere//")


def refuse_to_run(*args, **kwargs):
    raise FileNotFoundError("sysctl")


def test_the_clock_counts_on():
    before = process.clock()
    assert 0 <= process.clock() - before < 5
