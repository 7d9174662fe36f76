"""Cost of a build with Ray and two workers as the corpus grows tenfold and tenfold again: CPU seconds, memory, bytes.

Documents are made up, of 12 words; the encoder has 32 components and the language model a width of 32, so that the
house is measured and not the models. `driver_memory` is the largest resident set of the process that runs the build, of
any step of the largest corpus, and `worker_memory` that of a worker. `driver_cpu` divides the driver's CPU seconds by
those of a corpus of a tenth. `small_bank_with_ray` divides the time of a build of 1,000 documents with Ray by that in
one process. The table on the way has each step with its slope: the power of the number of documents with which its CPU
seconds grow between the two largest corpora.

Sizes: 10,000, 100,000 and 1,000,000 documents, with `--quick` 1,000 and 10,000.

Expected on machine C of LOG.md, beside other work, in half an hour: driver_memory 668 MiB, worker_memory 2,069 MiB,
driver_cpu 3.7, disk 2,458 bytes, small_bank_with_ray 3.0.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import Row, main, tell
from bench.scale.corpus import recipe, write_documents
from bench.scale.watch import StepCost, Watch
from bench.tiny_models import save_encoder, save_language_model

SIZES = (10_000, 100_000, 1_000_000)
QUICK = (1_000, 10_000)
SMALL = 1_000
MARK = "scale:"
TICK = 0.01
"""Seconds that the kernel counts CPU time in."""


@dataclass(frozen=True)
class BuildCost:
    """What a build of ``documents`` took, step by step, and its seconds from start to end."""

    documents: int
    steps: dict[str, StepCost]
    seconds: float


def measure(quick: bool) -> Sequence[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = save_encoder(folder / "encoder", width=32), save_language_model(folder / "language-model")
        small = [_build(folder / "small", SMALL, engine, models).seconds for engine in ("ray", "inline")]
        costs = [_build(folder, count, "ray", models) for count in (QUICK if quick else SIZES)]
    _tell_steps(costs)
    last, of = costs[-1], f"of {costs[-1].documents:,} documents"
    steps = list(last.steps.values())
    driver_peak = max(step.driver_peak for step in steps) / 2**20
    worker_peak = max(step.worker_peak for step in steps) / 2**20
    driver = [sum(step.driver_seconds for step in cost.steps.values()) for cost in costs[-2:]]
    disk = max(step.bytes_after for step in steps) / last.documents
    rows: list[tuple[str, str, float, str, float | None, float | None]] = [
        ("driver_memory", f"peak of the driver {of}", driver_peak, "MiB", 1024, 300),
        ("worker_memory", f"peak of a worker {of}", worker_peak, "MiB", None, None),
        ("driver_cpu", f"CPU of the driver {of}, by that of a tenth", driver[1] / driver[0], "x", 12, 10),
        ("disk", f"the bank {of}, by their number", disk, "B", None, None),
        ("small_bank_with_ray", f"{SMALL:,} documents with Ray, by one process", small[0] / small[1], "x", 4, 2),
    ]
    return [Row(*row, higher_is_better=False) for row in rows]


def _build(folder: Path, documents: int, engine: str, models: tuple[str, str]) -> BuildCost:
    """Build a bank of ``documents`` in a process of its own, and look at it and at its workers as it goes."""
    corpus, bank = folder / f"documents-{documents}", folder / f"bank-{documents}-{engine}"
    if not corpus.exists():
        write_documents(corpus, documents)
    started = time.monotonic()
    command = [sys.executable, "-m", "bench.scale", "--build", engine, json.dumps(recipe(corpus, bank, *models))]
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


def _tell_steps(costs: list[BuildCost]) -> None:
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


def build_marked(engine: str, recipe: dict[str, Any]) -> None:
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
        build(recipe, engine=chosen, sinks=[mark])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        build_marked(sys.argv[2], json.loads(sys.argv[3]))
    else:
        raise SystemExit(main("scale", __doc__ or "", measure))
