"""CPU time of a process and the workers that it started, and its peak of memory since a moment.

psutil does not say the peak; the kernel's /proc has it (Linux).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def workers(driver: psutil.Process) -> list[psutil.Process]:
    """Workers of Ray that ``driver`` started, at work or idle: these call themselves `ray::...`."""
    return [process for process in driver.children(recursive=True) if _name(process).startswith("ray::")]


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process so far, of all its threads; 0 where it has ended."""
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def peak_bytes(process: psutil.Process) -> int:
    """The largest resident set since the process began, or since `forget_peak`; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def forget_peak(process: psutil.Process) -> None:
    """Let the peak of a process begin anew with what it has now; nothing where it has ended."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _name(process: psutil.Process) -> str:
    """What a process calls itself; "" where it has ended."""
    with contextlib.suppress(psutil.Error):
        return "".join(process.cmdline()[:1])
    return ""
