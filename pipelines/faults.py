"""Named fault points: where a test kills a build to prove that nothing is lost or doubled.

Every step passes `STEP:before-write`, `STEP:after-write`, `STEP:before-commit` and `STEP:after-commit`. With
``MNEMIC_FAULT=embed:after-write`` in the environment the process kills itself there as `kill -9` would;
``embed:after-write:3`` waits for the third passing. Without the variable a fault point costs one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = ("before-write", "after-write", "before-commit", "after-commit")

_passed: dict[str, int] = {}


def reach(step: str, point: str) -> None:
    """Die here if the environment asks for it."""
    wanted = os.environ.get("MNEMIC_FAULT")
    if not wanted:
        return
    name = f"{step}:{point}"
    target, _, count = wanted.rpartition(":") if wanted.count(":") == 2 else (wanted, "", "1")
    if target == name:
        _passed[name] = _passed.get(name, 0) + 1
        if _passed[name] == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
