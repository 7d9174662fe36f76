"""Builds of `bench.scale`, each in a process of its own that is looked at from outside, and a table of their steps."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import tell
from bench.scale.corpus import recipe, write_documents
from bench.scale.watch import StepCost, Watch

MARK = "scale:"
TICK = 0.01
"""Seconds that the kernel counts CPU time in."""


@dataclass(frozen=True)
class BuildCost:
    """What a build of ``documents`` took, step by step, and its seconds from start to end."""

    documents: int
    steps: dict[str, StepCost]
    seconds: float

    @property
    def driver_memory(self) -> float:
        """The largest resident set of the process that runs the build, in MiB."""
        return max(step.driver_peak for step in self.steps.values()) / 2**20

    @property
    def worker_memory(self) -> float:
        """The largest resident set of a worker, in MiB."""
        return max(step.worker_peak for step in self.steps.values()) / 2**20

    @property
    def driver_cpu(self) -> float:
        """CPU seconds of the process that runs the build."""
        return sum(step.driver_seconds for step in self.steps.values())

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes."""
        return sum(step.seconds for step in self.steps.values())


def watched_build(
    folder: Path, documents: int, engine: str, models: tuple[str, str], until: str | None = None
) -> BuildCost:
    """Build a bank of ``documents`` in a process of its own, and look at it and at its workers as it goes.

    With ``until`` the build ends behind that step.
    """
    corpus, bank = folder / f"documents-{documents}", folder / f"bank-{documents}-{engine}"
    if not corpus.exists():
        write_documents(corpus, documents)
    started = time.monotonic()
    arguments = [engine, json.dumps(recipe(corpus, bank, *models)), *([until] if until else [])]
    command = [sys.executable, "-m", "bench.scale.builds", *arguments]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        Watch(process.pid, bank) as watch,
    ):
        assert process.stdin is not None and process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                kind, _, step = line.removeprefix(MARK).strip().partition(" ")
                if kind == "step-start":
                    watch.begins(step)
                else:
                    watch.ends()
                    cost = watch.steps[step]
                    peaks = f"driver {cost.driver_peak / 2**20:.0f} MiB, worker {cost.worker_peak / 2**20:.0f} MiB"
                    seconds = f"{cost.driver_seconds:.1f} + {cost.seconds - cost.driver_seconds:.1f} s of CPU"
                    tell(f"{documents:,} documents, {engine}: {step} {seconds}, {peaks}")
                process.stdin.write("\n")  # it waits, so that nothing of the next step is seen as of this one
                process.stdin.flush()
    if process.returncode:
        raise SystemExit(f"The build of {documents:,} documents failed; its last lines stand above.")
    return BuildCost(documents, watch.steps, time.monotonic() - started)


def tell_steps(costs: list[BuildCost]) -> None:
    """A line of Markdown for each step: CPU seconds by size, their slope, peaks, bytes and files."""
    sizes = " | ".join(f"{cost.documents:,}" for cost in costs)
    tell(f"\n| step | CPU s, driver + workers: {sizes} | slope | driver MiB | worker MiB | B a document | files |")
    tell("| --- " * (len(costs) + 6) + "|")
    before, last = costs[-2:]
    bytes_before = files_before = 0
    for name, step in last.steps.items():
        both = (cost.steps[name] for cost in costs)
        seconds = " | ".join(f"{one.driver_seconds:.1f} + {one.seconds - one.driver_seconds:.1f}" for one in both)
        growth = last.documents / before.documents
        ratio = step.seconds / max(before.steps[name].seconds, TICK)
        slope = math.log(max(ratio, TICK), growth)
        memory = f"{step.driver_peak / 2**20:.0f} | {step.worker_peak / 2**20:.0f}"
        disk = f"{(step.bytes_after - bytes_before) / last.documents:.0f} | {step.files_after - files_before}"
        tell(f"| {name} | {seconds} | {slope:.2f} | {memory} | {disk} |")
        bytes_before, files_before = step.bytes_after, step.files_after


def build_marked(engine: str, recipe: dict[str, Any], until: str | None) -> None:
    """Build in this process; print a line when a step begins and when it ends, and wait for one before it goes on."""
    warnings.filterwarnings("ignore")
    from pipelines.engine import choose_engine
    from pipelines.progress import ProgressEvent
    from pipelines.run import build

    def mark(event: ProgressEvent) -> None:
        if event.kind in ("step-start", "step-end"):
            print(f"{MARK} {event.kind} {event.step}", flush=True)
            sys.stdin.readline()

    with choose_engine(engine, workers=2 if engine == "ray" else None) as chosen:
        build(recipe, engine=chosen, sinks=[mark], until=until)


if __name__ == "__main__":
    build_marked(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
