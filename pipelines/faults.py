"""Named fault points: where a test kills, or stops, a build to prove that nothing is lost or doubled.

Every step passes `STEP:before-write` and `STEP:after-write` in its workers, `STEP:before-commit` and
`STEP:after-commit` in the process that commits. With ``MNEMIC_FAULT=embed:after-write`` in the environment the process
kills itself there as `kill -9` would; ``embed:after-write:3`` waits for the third passing in one process, and
``embed:after-write@parent`` kills the parent instead, which for an actor is Ray's node. ``MNEMIC_FAULT_SIGNAL=STOP``
stops the process instead, until somebody has it go on. ``MNEMIC_FAULT_ONCE`` names a file that the first process to die
makes, and that keeps others alive; ``MNEMIC_FAULT_LOG`` one that gets a line for every passing. Without these variables
a fault point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import time

POINTS = ("before-write", "after-write", "before-commit", "after-commit")

_passed: dict[str, int] = {}


def reach(step: str, point: str) -> None:
    """Die here if the environment asks for it."""
    name = f"{step}:{point}"
    log = os.environ.get("MNEMIC_FAULT_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    fault, _, victim = os.environ.get("MNEMIC_FAULT", "").partition("@")
    if not fault:
        return
    target, _, count = fault.rpartition(":") if fault.count(":") == 2 else (fault, "", "1")
    if target == name:
        _passed[name] = _passed.get(name, 0) + 1
        if _passed[name] == int(count) and _first():
            stops = os.environ.get("MNEMIC_FAULT_SIGNAL") == "STOP"
            victim_id = os.getppid() if victim == "parent" else os.getpid()
            os.kill(victim_id, signal.SIGSTOP if stops else signal.SIGKILL)
            if not stops:
                time.sleep(60)  # the parent takes its children along


def _first() -> bool:
    """Whether this process is the first to die for the file that `MNEMIC_FAULT_ONCE` names."""
    once = os.environ.get("MNEMIC_FAULT_ONCE")
    if not once:
        return True
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
