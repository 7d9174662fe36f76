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

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.report import Row, main
from bench.scale.builds import tell_steps, watched_build
from bench.tiny_models import save_encoder, save_language_model

SIZES = (10_000, 100_000, 1_000_000)
QUICK = (1_000, 10_000)
SMALL = 1_000


def measure(quick: bool) -> Sequence[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = save_encoder(folder / "encoder", width=32), save_language_model(folder / "language-model")
        small = [watched_build(folder / "small", SMALL, engine, models).seconds for engine in ("ray", "inline")]
        costs = [watched_build(folder, count, "ray", models) for count in (QUICK if quick else SIZES)]
    tell_steps(costs)
    before, last = costs[-2:]
    of, growth = f"of {last.documents:,} documents", last.driver_cpu / before.driver_cpu
    disk = max(step.bytes_after for step in last.steps.values()) / last.documents
    rows: list[tuple[str, str, float, str, float | None, float | None]] = [
        ("driver_memory", f"peak of the driver {of}", last.driver_memory, "MiB", 1024, 300),
        ("worker_memory", f"peak of a worker {of}", last.worker_memory, "MiB", None, None),
        ("driver_cpu", f"CPU of the driver {of}, by that of a tenth", growth, "x", 12, 10),
        ("disk", f"the bank {of}, by their number", disk, "B", None, None),
        ("small_bank_with_ray", f"{SMALL:,} documents with Ray, by one process", small[0] / small[1], "x", 4, 2),
    ]
    return [Row(*row, higher_is_better=False) for row in rows]


if __name__ == "__main__":
    raise SystemExit(main("scale", __doc__ or "", measure))
