"""The place where a build would run: engine, processors, how busy they are, and how fast one is."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mnemic.hardware import likely_device
from pipelines.estimate.pace import read_pace, write_pace

PROBES = {"packing": 0.0075, "multiplying": 0.0017}
"""Core seconds of each probe on the machine of the shipped rates."""

_BOUNDS = (0.25, 4.0)


@dataclass(frozen=True)
class Machine:
    """Where a build would run. ``load`` is how many processes wanted a processor in the last minute."""

    engine: str
    device: str
    processors: int
    load: float
    slowness: float  # core seconds here, over those of the machine of the shipped rates
    model_slowness: float = 1.0  # the same, of products of matrices

    @property
    def crowding(self) -> float:
        """How many times as long work takes beside what else runs here."""
        own = self.processors if self.engine == "ray" else min(threads(), self.processors)
        return max(1.0, (self.load + own) / self.processors)

    @property
    def crowded(self) -> float:
        """How many times as long what has just run took beside the rest; the load of the last minute has it too."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return max(1.0, (self.crowding + load / self.processors) / 2)

    @classmethod
    def here(cls, engine: str, device: str | None) -> Machine:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        packing, multiplying = slowness()
        return cls(engine, device or likely_device(), processors, load, packing, multiplying)


def likely_engine() -> str:
    """The engine that a build chooses by itself, without importing it."""
    return os.environ.get("MNEMIC_ENGINE") or ("ray" if importlib.util.find_spec("ray") else "inline")


def slowness() -> tuple[float, float]:
    """How much slower a core is here than the shipped rates': at packing text, and at multiplying matrices.

    What else runs shares caches and arithmetic with the probes, so the best of the last weeks is kept with the pace of
    this machine.
    """
    pace, processor = read_pace(), _processor()
    ratios = [pace.probe(f"{name} {processor}", seconds / PROBES[name]) for name, seconds in probe_seconds().items()]
    if pace.changed:
        write_pace(pace)
    packing, multiplying = (min(max(one, _BOUNDS[0]), _BOUNDS[1]) for one in ratios)
    return packing, multiplying


@functools.cache
def probe_seconds() -> dict[str, float]:
    """Name of each of `PROBES` -> processor seconds of this thread here, the best of a few times.

    A process measures once: that takes a tenth of a second, a sixth of a small build.
    """
    text = b"".join(
        b"%d words of a text that is packed and thrown away; " % (number * number) for number in range(20_000)
    )
    matrix = np.full((60, 60), 1 / 60, np.float32)  # small enough for BLAS to do it in one thread

    def multiply() -> None:
        product = matrix
        for _ in range(400):
            product = product @ matrix

    return {"packing": _best(lambda: zlib.compress(text, 6), 3), "multiplying": _best(multiply, 12)}


def _best(probe: Callable[[], object], times: int) -> float:
    """Processor seconds of the quickest of ``times`` runs."""
    seconds = []
    for _ in range(times):
        started = time.thread_time()
        probe()
        seconds.append(time.thread_time() - started)
    return min(seconds)


def _processor() -> str:
    """The processor's name, as a key: a home directory may be that of several machines."""
    name = platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        name = next((line.partition(":")[2] for line in lines if line.startswith("model name")), name)
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60] or "unnamed"


def threads() -> int:
    """Threads of a process that computes, as the environment sets them."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() else os.cpu_count() or 1
