"""Segmentation: agreement with people's boundaries, constants chosen without a set, speed, refinement and surprise.

It needs the labelled sets (`bench.segment.sets`; `python -m bench.data` says where they come from) and, for the rows
that compare, the libraries of bench/requirements.txt. The rates are those of one core: the process is pinned to one for
them. With --quick fewer texts are read, and the language model reads fewer tokens.

Expected on machine A of LOG.md (2 cores of an AMD EPYC; 21 minutes): pk_granular 38.0 %, pk_default 37.9 %,
pk_oracle_count 35.9 %, threshold_rate 1.75 M units/s, dp_rate 564,300, posterior_rate 43,660, refine_speedup 268,
refine_published 2,317, refine_difference 1.9e-12, encode_ratio 1.0, surprise_efficiency 1.01.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench import data
from bench.report import Row, main
from bench.segment.crossed import crossed_rows
from bench.segment.peers import count_words, encoder
from bench.segment.quality import encoded_sets, quality_rows, scored
from bench.segment.sets import NEEDED
from bench.segment.surprise import surprise_rows
from mnemic.models import locate
from mnemic.schema import DOCUMENTS
from operators.segment import Segment
from operators.sentences import Sentences
from operators.surprise import Surprise


def measure(quick: bool) -> list[Row]:
    for name in NEEDED:
        data.paths(name)
    locate(Surprise().model)  # before a quarter of an hour has passed
    sets = encoded_sets(encoder(), quick)
    granular, default = scored(sets)
    return [
        *quality_rows(sets, granular, default, encoder()),
        *crossed_rows(sets, default),
        *_one_core_rows(quick),
        _encode_row(),
        *surprise_rows(quick),
    ]


def _one_core_rows(quick: bool) -> list[Row]:
    """`bench.segment.rates` in a process whose libraries have one thread each."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        command = [sys.executable, "-m", "bench.segment.rates", "--json", str(file), *(["--quick"] if quick else [])]
        subprocess.run(command, env={**os.environ, **threads}, check=False)
        names = [field.name for field in dataclasses.fields(Row)]
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        return [Row(**{name: line[name] for name in names}) for line in lines]


def _encode_row() -> Row:
    """Words that are encoded on the way from text to events, per word of the text."""
    text = (sys.modules["numpy"].__doc__ or "") + (statistics.__doc__ or "")
    facts = {field.name: [""] for field in DOCUMENTS} | {"id": ["d"], "text": [text], "length": [0]}
    facts |= {"time": [None], "turns": [None]}
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
    metric = "words encoded per input word, from text to events"
    return Row("encode_ratio", metric, count_words(encoded) / count_words([text]), "", 1.0, 1.0, False)


if __name__ == "__main__":
    sys.exit(main("segment", __doc__ or "", measure))
