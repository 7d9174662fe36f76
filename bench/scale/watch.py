"""Look at a build from outside, step by step: CPU time and peak memory of its process and of its workers, bytes."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.scale.processes import cpu_seconds, forget_peak, peak_bytes, workers

EVERY = 0.25
"""Seconds between two looks at the workers."""


@dataclass
class StepCost:
    """What one step of a build took. Peaks in bytes, of the driver and of the largest worker."""

    driver_seconds: float = 0.0
    driver_peak: int = 0
    worker_peak: int = 0
    worker_seconds: dict[int, float] = field(default_factory=dict)
    bytes_after: int = 0
    files_after: int = 0

    @property
    def seconds(self) -> float:
        """CPU seconds of all processes."""
        return self.driver_seconds + sum(self.worker_seconds.values())


class Watch:
    """The costs of the steps of the build that the process ``driver`` runs, whose bank is at ``bank``.

    Memory that a step leaves with a process counts for the next one too, since the process still has it.
    """

    def __init__(self, driver: int, bank: Path) -> None:
        self.steps: dict[str, StepCost] = {}
        self._driver, self._bank, self._step = psutil.Process(driver), bank, ""
        self._before: dict[int, float] = {}  # CPU seconds of each process when the step began
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def begins(self, step: str) -> None:
        """What is seen from now on is of ``step``."""
        with self._lock:
            everyone = [self._driver, *workers(self._driver)]
            self._before = {process.pid: cpu_seconds(process) for process in everyone}
            for process in everyone:
                forget_peak(process)
            self._step = step
            self.steps[step] = StepCost()

    def ends(self) -> None:
        """The step has ended."""
        with self._lock:
            self._see()
            cost, self._step = self.steps[self._step], ""
        for path in self._bank.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file():
                    cost.bytes_after += path.stat().st_size
                    cost.files_after += 1

    def _look(self) -> None:
        while not self._ended.wait(EVERY):
            with self._lock:
                if self._step:
                    self._see()

    def _see(self) -> None:
        cost = self.steps[self._step]
        cost.driver_seconds = cpu_seconds(self._driver) - self._before[self._driver.pid]
        cost.driver_peak = max(cost.driver_peak, peak_bytes(self._driver))
        for worker in workers(self._driver):
            seconds = cpu_seconds(worker) - self._before.get(worker.pid, 0.0)
            cost.worker_seconds[worker.pid] = max(seconds, cost.worker_seconds.get(worker.pid, 0.0))
            cost.worker_peak = max(cost.worker_peak, peak_bytes(worker))
