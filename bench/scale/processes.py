"""CPU time and peak memory of a process and of those that it started, as the kernel's /proc has them (Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def descendants(process: int) -> Iterator[int]:
    """The processes that ``process`` started, and those that they did."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = [process]
    while waiting:
        own = children.get(waiting.pop(), [])
        yield from own
        waiting += own


def is_worker(process: int) -> bool:
    """Whether it is a worker of Ray, at work or idle: these call themselves `ray::...`."""
    with contextlib.suppress(OSError):
        return (_PROC / str(process) / "cmdline").read_bytes().startswith(b"ray::")
    return False


def cpu_seconds(process: int) -> float:
    """CPU seconds of a process so far; 0 where it has ended."""
    fields = _fields(process)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def peak_bytes(process: int) -> int:
    """The largest resident set since the process began, or since `forget_peak`; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(process) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def forget_peak(process: int) -> None:
    """Let the peak of a process begin anew with what it has now; nothing where it has ended."""
    with contextlib.suppress(OSError):
        (_PROC / str(process) / "clear_refs").write_text("5")


def _fields(process: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name, of which state is the first; [] where it has ended."""
    with contextlib.suppress(OSError):
        return (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    return []
