"""Speed of segmentation on one core: scores, dynamic programming, the posterior, bisection and refinement.

``python -m bench.segment.rates`` pins itself to one processor; `bench.segment` runs it as a process of its own, since a
matrix library that has made its threads keeps them.

Expected on machine A of LOG.md (2 cores of an AMD EPYC): threshold_rate 1.75 M units/s (TextTiling; cosine 5.7 M),
dp_rate 564,300, posterior_rate 43,660, refine_speedup 268 (739, 1,546, 2,820 at mean gaps of 32, 64, 128),
refine_published 2,317, refine_published_conductance 4,373, refine_difference 1.9e-12.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

import numpy as np

from bench.report import Row, main
from bench.segment.refine import refine_rows
from operators.segment import Segment
from operators.segment.boundaries import Units, find_boundaries

WIDTH = 384
DOCUMENT = 200
RUNS = 5


def measure(quick: bool) -> list[Row]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return [*_rate_rows(quick), *refine_rows(quick)]


def _rate_rows(quick: bool) -> list[Row]:
    """Units a second of whole segmenters, from vectors to cuts, on documents of 200 units that wander by topics."""
    count = 20_000 if quick else 100_000
    units = _units(count)
    rows = []
    for identity, settings, must, goal in (
        ("threshold_rate_cosine", Segment(method="cosine"), None, None),
        ("threshold_rate_texttiling", Segment(method="texttiling"), None, None),
        ("threshold_rate_trailing", Segment(method="cosine", trailing=100), None, None),
        ("dp_rate", Segment(method="changepoint", max_units=64), 40_000, 200_000),
        ("posterior_rate", Segment(max_units=64), None, None),
        ("divisive_rate", Segment(method="divisive", max_units=64), None, None),
    ):
        metric = f"{settings.method}, d = {WIDTH}, one core" + (", longest 64" if settings.max_units == 64 else "")
        rows.append(Row(identity, metric, _rate(units, settings), "units/s", must, goal))
    slowest = min(row.value for row in rows if row.id.startswith("threshold"))
    metric = f"the slowest of the threshold segmenters, d = {WIDTH}, one core"
    return [Row("threshold_rate", metric, slowest, "units/s", 100_000, 1_000_000), *rows]


def _units(count: int) -> Units:
    generator = np.random.default_rng(0)
    topics = np.repeat(generator.standard_normal((count // 8, WIDTH), dtype=np.float32), 8, axis=0)
    vectors = topics + 1.5 * generator.standard_normal((count, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ends = np.arange(1, count) % DOCUMENT == 0
    return Units(vectors, generator.uniform(1.0, 8.0, count), ends, {})


def _rate(units: Units, settings: Segment) -> float:
    find_boundaries(units, settings)
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        find_boundaries(units, settings)
        seconds.append(time.perf_counter() - started)
    return len(units) / statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main("segment.rates", __doc__ or "", measure))
