"""Facts about this host's own processes: their identity, whether they live, and how long they were stopped.

That a process is dead needs proof. Where `/proc` is absent (macOS) or hidden (`hidepid`), one that cannot be read is
not dead: the operating system is asked whether the number is in use at all.
"""

from __future__ import annotations

import enum
import os
import socket
import subprocess
import time
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Counts the time in which the machine was suspended; on macOS CLOCK_MONOTONIC does."""


class Life(enum.Enum):
    """What is known of a process of this host."""

    RUNS = "runs"
    DEAD = "dead"
    UNKNOWN = "unknown"  # or stopped: it may go on at any time


def clock() -> float:
    """Seconds since this host was booted, those included in which it or this process was suspended."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def host_identity() -> str:
    """Name of this process space: host, boot and pid namespace, so that containers on one machine differ."""
    space = Path("/proc/self/ns/pid")
    parts = [socket.gethostname(), _boot(), os.readlink(space) if space.is_symlink() else ""]
    return "/".join(part.replace("'", "") for part in parts)


def proves(host: str) -> bool:
    """Whether this identity names one boot of one machine, and not just any host of that name."""
    return host.partition("/")[2].partition("/")[0] != ""


def process_identity(pid: int) -> str:
    """Start time of a process in clock ticks since boot; "" where there is none, or none that can be read."""
    fields = _fields(pid)
    return "" if fields is None or fields[0] in "ZX" else fields[19]


def life(pid: int, started: str) -> Life:
    """What is known of the process ``pid`` of this host, whose `process_identity` was ``started``."""
    fields = _fields(pid)
    if fields is None:
        return Life.UNKNOWN if _in_use(pid) else Life.DEAD
    if fields[0] in "ZX" or (started and fields[19] != started):
        return Life.DEAD
    return Life.UNKNOWN if fields[0] in "Tt" or not started else Life.RUNS


def _in_use(pid: int) -> bool:
    """Whether there is a process of this number, whoever owns it; True where that cannot be found out."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _fields(pid: int) -> list[str] | None:
    """The fields of `/proc/PID/stat` from the state on; None where they cannot be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _boot() -> str:
    """What names this boot of this machine; "" where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        pass
    try:
        command = ["sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
