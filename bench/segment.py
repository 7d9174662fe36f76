"""Segmentation: agreement with people's boundaries, speed of scores, dynamic programming, refinement and surprise.

``python -m bench.segment [--quick] [--json FILE]`` needs the labelled sets (`bench.segment_sets`) and, for the rows
that compare, the libraries of bench/requirements.txt. The rates are those of one core: the process is pinned to one for
them. With --quick fewer texts are read and the language model is not run over as many tokens.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from bench.report import Row, main
from bench.segment_peers import count_words, encoder
from bench.segment_quality import quality_rows
from bench.segment_refine import refine_rows
from bench.segment_surprise import surprise_rows
from operators.segment import Segment
from operators.segment.boundaries import Units, find_boundaries
from operators.sentences import Sentences

WIDTH = 384
DOCUMENT = 200
RUNS = 5


def measure(quick: bool) -> list[Row]:
    return [
        *quality_rows(encoder(), quick),
        *_on_one_core(lambda: [*_rate_rows(quick), *refine_rows(quick)]),
        _encode_row(),
        *surprise_rows(quick),
    ]


def _on_one_core(rows: Callable[[], list[Row]]) -> list[Row]:
    with _pinned():
        return rows()


@contextmanager
def _pinned() -> Iterator[None]:
    """This process on one processor, where the system can do that; BLAS and numba then have no other to use."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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
        told = f"{settings.method}, d = {WIDTH}, one core" + (", longest 64" if settings.max_units == 64 else "")
        rows.append(Row(identity, told, _rate(units, settings), "units/s", must, goal))
    slowest = min(row.value for row in rows if row.id.startswith("threshold"))
    told = f"the slowest of the threshold segmenters, d = {WIDTH}, one core"
    return [Row("threshold_rate", told, slowest, "units/s", 100_000, 1_000_000), *rows]


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


def _encode_row() -> Row:
    """Words that the way from text to events gives to the encoder, per word of the text."""
    import pyarrow as pa

    from mnemic.schema import DOCUMENTS

    text = (sys.modules["numpy"].__doc__ or "") + (statistics.__doc__ or "")
    facts = {field.name: [""] for field in DOCUMENTS} | {"id": ["d"], "text": [text], "time": [None], "length": [0]}
    units, _ = Sentences().open("cpu")(pa.RecordBatch.from_pydict(facts, schema=DOCUMENTS))
    encoded: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        encoded.extend(texts)
        return encoder().encode(texts).astype(np.float16)

    vectors = encode(units.column("text").to_pylist())
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    events, _ = Segment().open("cpu")(units.append_column("embedding", column))
    if not events.num_rows:
        raise SystemExit("The text made no events; nothing was measured.")
    told = "words encoded per input word, from text to events"
    return Row("encode_ratio", told, count_words(encoded) / count_words([text]), "", 1.0, 1.0, False)


if __name__ == "__main__":
    sys.exit(main("segment", __doc__ or "", measure))
