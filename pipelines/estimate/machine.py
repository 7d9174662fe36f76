"""Where a build would run: engine, processors, how busy they are, and how fast one is."""

from __future__ import annotations

import importlib.util
import os
import time
import zlib
from dataclasses import dataclass

from mnemic.hardware import likely_device

_PROBE_SECONDS = 0.0075
"""Core seconds of the probe on the machine of the shipped rates."""


@dataclass(frozen=True)
class Machine:
    """Where a build would run. ``load`` is how many processes wanted a processor in the last minute."""

    engine: str
    device: str
    processors: int
    load: float
    slowness: float  # core seconds here, over those of the machine of the shipped rates

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
        return cls(engine, device or likely_device(), processors, load, _slowness())


def likely_engine() -> str:
    """The engine that a build chooses by itself, without importing it."""
    return os.environ.get("MNEMIC_ENGINE") or ("ray" if importlib.util.find_spec("ray") else "inline")


def _slowness() -> float:
    """How much slower this core is than that of the shipped rates, by packing some text: three times, the best."""
    text = b"".join(
        b"%d words of a text that is packed and thrown away; " % (number * number) for number in range(20_000)
    )
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        zlib.compress(text, 6)
        best = min(best, time.thread_time() - started)
    return min(max(best / _PROBE_SECONDS, 0.25), 4.0)


def threads() -> int:
    """Threads of a process that computes, as the environment sets them."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() else os.cpu_count() or 1
