"""Cost of the way from files to sentences, with Ray and two workers, as the corpus grows to ten million documents.

Documents are those of `bench.scale`: made up, of 12 words. The steps are read, signature, deduplicate and units, and
the build ends there. `units_driver_memory` is the largest resident set of the process that runs the build, and
`units_worker_memory` that of a worker; `units_driver_cpu` divides the driver's CPU seconds by those of a corpus of a
tenth. The table on the way has each step with its slope: the power of the number of documents with which its CPU
seconds grow between the two largest corpora.

Sizes: 1,000,000 and 10,000,000 documents, with `--quick` 10,000 and 100,000. The largest takes 10 GB of disk where
Python's `tempfile` puts it.

Expected on machine C of LOG.md, beside much other work, in 50 minutes: units_driver_memory 1,250 MiB,
units_worker_memory 4,562 MiB, units_driver_cpu 16.6, units_cpu 12.8, units_disk 1,026 bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.report import Row, main
from bench.scale.builds import tell_steps, watched_build
from bench.tiny_models import save_encoder, save_language_model

SIZES = (1_000_000, 10_000_000)
QUICK = (10_000, 100_000)


def measure(quick: bool) -> Sequence[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = save_encoder(folder / "encoder", width=32), save_language_model(folder / "language-model")
        costs = [watched_build(folder, count, "ray", models, "units") for count in (QUICK if quick else SIZES)]
    tell_steps(costs)
    before, last = costs
    of, tenth = f"of {last.documents:,} documents", "by that of a tenth"
    disk = list(last.steps.values())[-1].bytes_after / last.documents
    rows: list[tuple[str, str, float, str, float | None, float | None]] = [
        ("units_driver_memory", f"peak of the driver {of}", last.driver_memory, "MiB", None, None),
        ("units_worker_memory", f"peak of a worker {of}", last.worker_memory, "MiB", None, None),
        ("units_driver_cpu", f"CPU of the driver {of}, {tenth}", last.driver_cpu / before.driver_cpu, "x", None, None),
        ("units_cpu", f"CPU of all processes {of}, {tenth}", last.cpu / before.cpu, "x", None, None),
        ("units_disk", f"the bank {of}, by their number", disk, "B", None, None),
    ]
    return [Row(*row, higher_is_better=False) for row in rows]


if __name__ == "__main__":
    raise SystemExit(main("scale.units", __doc__ or "", measure))
