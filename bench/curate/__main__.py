"""Curation: decisions and counts beside those of datatrove and data-juicer, what they cost, and a threshold that moves.

    python -m bench.curate [--quick] [--json FILE]

Decisions and values are compared where the peers' answers lie in the folder `curate` of the cache (`bench/places.py`):
documents.parquet (`bench.curate.corpus`), datatrove.json and datajuicer.json, each made in an environment of its own
(`bench.curate.datatrove`, `bench.curate.datajuicer`). Seconds are CPU seconds of one process, ours and theirs; take
them one after the other on a machine that does nothing else. Without the files only the threshold is measured.

Expected on machine C (2 busy cores of an Intel Xeon; 2,000 documents, 12.0 MB): 0 decisions and 0 values unequal; 11
times datatrove's four with an empty table of chunks, 91 with one that has seen them; 16 times data-juicer's eight; a
threshold moved in a million documents in 0.6 to 0.8 s.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import places
from bench.curate.parity import unequal_reasons, unequal_values
from bench.report import Row, main, tell
from operators.measure.measurer import Measurer
from operators.measure.operator import counted

FILES = ("documents.parquet", "datatrove.json", "datajuicer.json")


def seconds_of(measurer: Measurer, texts: pa.Array) -> float:
    """CPU seconds for all statistics of ``texts``."""
    begun = time.process_time()
    counted(measurer, texts, "")
    return time.process_time() - begun


def cold_and_warm(words: str, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds with an empty table of chunks, and with one that has seen them all (the least of five)."""
    column = pa.array(texts, pa.large_string())
    seconds_of(Measurer(words), pa.array(texts[:20]))  # compiles
    measurer = Measurer(words)
    cold = seconds_of(measurer, column)
    return cold, min(seconds_of(measurer, column) for _ in range(5))


def compared(texts: Sequence[str], trove: Mapping[str, Any], juicer: Mapping[str, Any]) -> Iterator[Row]:
    """Parity with the peers' answers, and speed against the seconds that they took."""
    for name, reasons in unequal_reasons(texts, trove["reasons"]).items():
        yield Row(f"datatrove_{name}", "first reasons unequal", len(reasons), "documents", 0, 0, False, "datatrove")
    for name, values in unequal_values(texts, juicer["values"]).items():
        yield Row(f"datajuicer_{name}", "values unequal", len(values), "documents", 0, 0, False, "data-juicer")
    cold, warm = cold_and_warm("spacy-en", texts)
    four, eight = trove["seconds"]["four"], sum(juicer["seconds"].values())
    yield Row("rate_warm", "all statistics, one core", len(texts) / warm, "documents/s", 2500, 10_000)
    yield Row(
        "vs_datatrove_cold", "all statistics against the four filters", four / cold, "x", 8, 40, True, "datatrove"
    )
    yield Row("vs_datatrove_warm", "the same, chunks known", four / warm, "x", 60, 150, True, "datatrove")
    _, warm = cold_and_warm("datajuicer", texts)
    yield Row("vs_datajuicer", "all statistics against the eight", eight / warm, "x", 15, 40, True, "data-juicer")


def threshold(documents: int) -> Row:
    """Seconds of the step `curate` where a threshold of so many measured documents moved."""
    import mnemic

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        draw = np.random.default_rng(0)
        words = np.array([f"w{number}" for number in range(5000)])
        for file in range(-(-documents // 20_000)):
            rows = min(20_000, documents - file * 20_000)
            picked = words[draw.integers(0, len(words), (rows, 20))]
            lines = (json.dumps({"text": f"{file} {row} " + " ".join(picked[row])}) for row in range(rows))
            (corpus / f"{file}.jsonl").write_text("\n".join(lines) + "\n")
        recipe: dict[str, Any] = {
            "name": "threshold",
            "bank": str(Path(folder, "bank")),
            "sources": [{"kind": "folder", "path": str(corpus)}],
            "fragment_characters": 5_000_000,
            "signature": False,
            "curate": {"preset": "conversation", "rules": {"short": {"value": "letters", "min": 15}}},
        }
        built = mnemic.build(recipe, engine="inline", device="cpu", until="curate")
        tell(str({step.step: round(step.seconds, 2) for step in built.steps}))
        recipe["curate"]["rules"]["short"]["min"] = 20
        (step,) = mnemic.build(recipe, engine="inline", device="cpu", until="curate").steps
        return Row("threshold", f"moved, {step.rows:,} documents", step.seconds, "s", 5, 1, False)


def measure(quick: bool) -> list[Row]:
    folder = places.CACHE / "curate"
    rows = []
    if all((folder / name).exists() for name in FILES):
        documents, trove, juicer = (folder / name for name in FILES)
        texts = pq.read_table(documents)["text"].to_pylist()
        rows = list(compared(texts, json.loads(trove.read_text()), json.loads(juicer.read_text())))
    else:
        tell(f"Nothing is compared with peers: {folder} lacks {', '.join(FILES)}. See --help.")
    return [*rows, threshold(20_000 if quick else 1_000_000)]


if __name__ == "__main__":
    raise SystemExit(main("curate", __doc__ or "", measure))
