"""Curation measured: decisions and counts beside those of the peers, and what they cost.

    python -m bench.curate DOCUMENTS.parquet DATATROVE.json DATAJUICER.json     parity and speed
    python -m bench.curate --threshold 1000000                                  a threshold that moves

The peers' files are made in environments of their own, see `bench/curate/datatrove.py` and
`bench/curate/datajuicer.py`, the documents by `bench/curate/corpus.py`. Seconds are CPU seconds of one process, ours
and theirs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.curate.parity import unequal_reasons, unequal_values
from operators.measure.measurer import Measurer
from operators.measure.operator import counted


def seconds_of(measurer: Measurer, texts: pa.Array, view: str = "") -> float:
    begun = time.process_time()
    counted(measurer, texts, view)
    return time.process_time() - begun


def speeds(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Seconds for all statistics by word rule: with an empty table of chunks, and with one that has seen them."""
    column = pa.array(texts, pa.large_string())
    result = {}
    for words in ("spacy-en", "unicode", "whitespace", "datajuicer"):
        seconds_of(Measurer(words), pa.array(texts[:20]))  # compiles
        measurer = Measurer(words)
        cold = seconds_of(measurer, column)
        result[words] = {"cold": cold, "warm": min(seconds_of(measurer, column) for _ in range(3))}
    measurer = Measurer("spacy-en")
    seconds_of(measurer, column, "c4-open")
    result["spacy-en with view"] = {"warm": seconds_of(measurer, column, "c4-open")}
    return result


def compare(documents: str, datatrove: str, datajuicer: str) -> None:
    texts = pq.read_table(documents)["text"].to_pylist()
    trove, juicer = (json.loads(Path(name).read_text()) for name in (datatrove, datajuicer))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {megabytes:.1f} MB")
    for name, unequal in unequal_reasons(texts, trove["reasons"]).items():
        print(f"  datatrove {name:<20} {len(unequal)} reasons unequal {unequal[:3] or ''}")
    for name, values in unequal_values(texts, juicer["values"]).items():
        print(f"  data-juicer {name:<20} {len(values)} values unequal {values[:3] or ''}")
    mine = speeds(texts)
    eight = sum(juicer["seconds"].values())
    for words, times in mine.items():
        for kind, seconds in times.items():
            print(f"  ours, {words}, {kind}: {len(texts) / seconds:,.0f} documents/s, {megabytes / seconds:.1f} MB/s")
    four, pipeline = trove["seconds"]["four"], trove["seconds"]["pipeline"]
    print(f"  datatrove's four: {len(texts) / four:,.1f} documents/s; as a pipeline {len(texts) / pipeline:,.1f}")
    for kind in ("cold", "warm"):
        ours = mine["spacy-en"][kind]
        print(f"  against the four, {kind}: {four / ours:.0f} x; against the pipeline {pipeline / ours:.0f} x")
    print(f"  against data-juicer's eight: cold {eight / mine['datajuicer']['cold']:.1f} x, ", end="")
    print(f"warm {eight / mine['datajuicer']['warm']:.1f} x")


def threshold(documents: int) -> None:
    """Seconds of the step `curate` where a threshold of so many measured documents moved."""
    import mnemic
    from mnemic.dataset import Store

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        draw = np.random.default_rng(0)
        words = np.array([f"w{number}" for number in range(5000)])
        for file in range(-(-documents // 50_000)):
            rows = min(50_000, documents - file * 50_000)
            picked = words[draw.integers(0, len(words), (rows, 40))]
            lines = (json.dumps({"text": f"{file} {row} " + " ".join(picked[row])}) for row in range(rows))
            (corpus / f"{file}.jsonl").write_text("\n".join(lines) + "\n")
        recipe: dict[str, Any] = {
            "name": "threshold",
            "bank": str(Path(folder, "bank")),
            "sources": [{"kind": "folder", "path": str(corpus)}],
            "fragment_characters": 5_000_000,
            "signature": False,
            "curate": {"preset": "conversation", "rules": {"short": {"value": "letters", "min": 130}}},
        }
        built = mnemic.build(recipe, engine="inline", device="cpu", until="curate")
        print({step.step: round(step.seconds, 2) for step in built.steps})
        for least in (140, 150):
            recipe["curate"]["rules"]["short"]["min"] = least
            again = mnemic.build(recipe, engine="inline", device="cpu", until="curate")
            (step,) = again.steps
            kept = Store(recipe["bank"])["documents"].require()
            print(
                f"threshold moved to {least}: {step.rows:,} rows in {step.seconds:.2f} s, "
                f"{len(kept.fragments)} fragments, {kept.count('decision.rule = {}'.format(repr('')))} kept"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="documents, datatrove's and data-juicer's answers")
    parser.add_argument("--threshold", type=int, help="documents of a bank whose threshold moves")
    arguments = parser.parse_args()
    if arguments.threshold:
        threshold(arguments.threshold)
    elif len(arguments.files) == 3:
        compare(*arguments.files)
    else:
        parser.print_help()
        sys.exit(2)


if __name__ == "__main__":
    main()
