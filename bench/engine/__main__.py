"""Cost of the engines: per fragment, per build with nothing to do, and how a step scales from one worker to two.

The empty operator adds a constant column, so a fragment costs what the house costs: read it, write a column file,
commit in waves of 16. `two_worker_scaling` divides the speed-up of a real step (`embed` with the packaged encoder,
workers of one core) by that of a loop of integer arithmetic that is run by the same engine in the same minutes, so that
the worth of the machine's second core cancels out.

Expected on machine A of LOG.md (2 cores of an AMD EPYC): fragment_overhead_inline 4.8 ms, fragment_overhead_ray 4.7 ms,
dispatch_ray 0.53 ms, two_worker_scaling 1.05 (embed 1.85, loop 1.75), cached_build_inline 0.87 s,
cached_build_ray 1.21 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import ray

from bench.report import Row, main, paired
from mnemic.dataset import Store
from mnemic.dataset.growth import drop_fields
from mnemic.dataset.lease import Lease
from mnemic.dataset.write import append, write_rows
from operators.contracts import NO_REJECTS, BatchFunction, Resources
from operators.embed import Embed
from pipelines.engine import Engine, InlineEngine, Job
from pipelines.engine.ray_engine import RayEngine
from pipelines.identity import Record
from pipelines.steps.contracts import Context
from pipelines.steps.grow import GrowStep

LOOP = 6_000_000
"""Turns of the arithmetic loop: about half a second."""

ROWS = pa.schema([pa.field("id", pa.string()), pa.field("text", pa.string())])


@dataclass(frozen=True)
class Empty:
    """Adds the column `nothing`."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("nothing", pa.int8(), nullable=False)])

    def open(self, device: str) -> BatchFunction:
        schema = self.output(ROWS)

        def nothing(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            return pa.RecordBatch.from_arrays([pa.array([0] * batch.num_rows, pa.int8())], schema=schema), NO_REJECTS

        return nothing


def texts() -> Iterator[str]:
    """Paragraphs of the documentation of the installed packages, over and over."""
    files = sorted(Path(pa.__file__).parent.parent.glob("*.dist-info/METADATA"))
    while True:
        for file in files:
            yield from (part for part in file.read_text(errors="replace").split("\n\n") if 200 < len(part) < 600)


def fragments(folder: Path, name: str, count: int, rows: int) -> Store:
    """A store with one dataset of ``count`` fragments of ``rows`` paragraphs."""
    store = Store(folder)
    dataset, source = store[name], texts()
    dataset.create(ROWS, {}, {})
    for number in range(count):
        table = pa.table(
            {"id": [f"{number}-{row}" for row in range(rows)], "text": [next(source) for _ in range(rows)]}
        )
        append(dataset, write_rows(dataset.uri, table, ROWS), {})
    return store


def seconds_to_grow(store: Store, name: str, operator: Any, engine: Engine) -> float:
    """A row step over all fragments of the dataset, from nothing."""
    with Lease(store["leases"], "bench") as lease:
        context = Context(store, lease, engine, "bench", lambda event: None, "bench", "cpu", step="bench")
        step = GrowStep(Record("bench", 1, {}, {}), operator, name, ("text",), ())
        started = time.perf_counter()
        step.run(context)
        seconds = time.perf_counter() - started
    drop_fields(store[name], operator.output(ROWS).names)
    return seconds


@contextlib.contextmanager
def one_core_workers(count: int) -> Iterator[Engine]:
    """An engine whose Ray has ``count`` cores, hence as many workers."""
    ray.init(
        "local",
        num_cpus=count,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=100_000_000,
    )
    try:
        with RayEngine() as engine:
            yield engine
    finally:
        ray.shutdown()


def loop_seconds(engine: Engine, items: int) -> float:
    """The arithmetic loop, ``items`` times, once the workers are up."""

    def work(item: int) -> int:
        total = 0
        for number in range(LOOP):
            total += number ^ item
        return total

    started = time.perf_counter()
    list(engine.map(Job("loop", lambda: work), range(items)))
    return time.perf_counter() - started


def cached_seconds(folder: Path, engine: str) -> float:
    """`mnemic build` of a bank that is up to date, as a command, the interpreter's start included."""
    corpus = folder / "corpus"
    if not corpus.exists():
        corpus.mkdir()
        source = texts()
        for number in range(40):
            (corpus / f"{number}.txt").write_text("\n\n".join(next(source) for _ in range(5)))
    recipe = {"name": "cached", "bank": str(folder / engine), "sources": [{"kind": "folder", "path": str(corpus)}]}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "mnemic", "build", str(folder / "recipe.yaml"), "--engine", engine, "--quiet"]
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
    return seconds


def measure(quick: bool) -> list[Row]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder = Path(tempfile.mkdtemp(prefix="mnemic-bench-"))
    try:
        return [*_overheads(folder, quick), *_scaling(folder, quick), *_cached(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _overheads(folder: Path, quick: bool) -> list[Row]:
    count = 64 if quick else 256
    store = fragments(folder / "overhead", "rows", count, 100)

    def of(engine: Engine) -> Callable[[], float]:
        return lambda: 1000 * seconds_to_grow(store, "rows", Empty(), engine) / count

    with RayEngine(workers=2) as distributed:
        of(distributed)()  # the actors are made, and have loaded Lance
        inline, distant, _ = paired(of(InlineEngine()), of(distributed), 1 if quick else 3)
        started = time.perf_counter()
        list(distributed.map(Job("empty", lambda: lambda item: item), range(2000)))
        bare = (time.perf_counter() - started) / 2
    step = "a step with an empty operator: read, write, commit"
    return [
        Row("fragment_overhead_inline", step, inline, "ms/fragment", higher_is_better=False),
        Row("fragment_overhead_ray", f"{step}; two workers", distant, "ms/fragment", higher_is_better=False),
        Row("dispatch_ray", "an item that does nothing, two workers", bare, "ms/item", higher_is_better=False),
    ]


def _scaling(folder: Path, quick: bool) -> list[Row]:
    count = 12 if quick else 32
    store = fragments(folder / "scaling", "units", count, 32)
    operator = Embed()
    operator.output(ROWS)
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(1 if quick else 3):
        for workers in (1, 2):
            with one_core_workers(workers) as engine:
                loop_seconds(engine, 2 * workers)
                seconds_to_grow(store, "units", operator, engine)  # torch and the encoder are loaded
                times.setdefault(("loop", workers), []).append(loop_seconds(engine, count))
                times.setdefault(("embed", workers), []).append(seconds_to_grow(store, "units", operator, engine))
    pairs = list(zip(times["loop", 1], times["loop", 2], times["embed", 1], times["embed", 2], strict=True))
    middle = len(pairs) // 2
    loop = sorted(a / b for a, b, _, _ in pairs)[middle]
    embed = sorted(c / d for _, _, c, d in pairs)[middle]
    share = sorted((c / d) / (a / b) for a, b, c, d in pairs)[middle]
    return [
        Row("arithmetic_scaling", "speed-up of a loop of integer arithmetic by a second worker", loop, "x"),
        Row("embed_scaling", "speed-up of the step embed by a second worker", embed, "x"),
        Row("two_worker_scaling", "share of the loop's that the step gets", share, "", 0.9, None, True, "the loop"),
    ]


def _cached(folder: Path) -> list[Row]:
    metric = "`mnemic build` with nothing to do, as a command"
    return [
        Row(f"cached_build_{engine}", metric, cached_seconds(folder, engine), "s", must, higher_is_better=False)
        for engine, must in (("inline", 5.0), ("ray", 15.0))
    ]


if __name__ == "__main__":
    sys.exit(main("engine", __doc__ or "", measure))
