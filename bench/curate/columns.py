"""The cost of the columns beside the statistics, and of what is masked: documents a second, one core.

    python -m bench.curate.columns [--quick] [--json FILE]

The documents are the files of the standard library of the Python that runs, largest first, cut into pieces of 5,000
characters: 2,000 of them, 300 with ``--quick``. Seconds are CPU seconds of one process, the least of three. Nothing is
said of how right an answer is: texts of programs are no sample of anything.
"""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.report import Row, main
from operators.language import Language
from operators.pii.operator import PersonalData

CHARACTERS = 5000


def documents(count: int) -> pa.RecordBatch:
    """So many pieces of text."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(folder.glob("*.py"), key=lambda file: (-file.stat().st_size, file.name))
    pieces: list[str] = []
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        pieces += (text[first : first + CHARACTERS] for first in range(0, len(text), CHARACTERS))
    return pa.RecordBatch.from_pydict({"text": pa.array(pieces[:count], pa.large_string())})


def rate(work: Callable[[Any], Any], batch: pa.RecordBatch) -> float:
    """Documents a second, after a call that compiles."""
    work(batch.slice(0, 5))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        work(batch)
        seconds.append(time.process_time() - begun)
    return batch.num_rows / min(seconds)


def measure(quick: bool) -> list[Row]:
    batch = documents(300 if quick else 2000)
    masking = PersonalData(action="mask").masking
    assert masking is not None
    work: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "language": ("languages told", Language().open("cpu")),
        "pii_mark": ("personal data marked", PersonalData().open("cpu")),
        "pii_mask": ("personal data masked", lambda rows: masking.texts(rows.column("text").to_pylist())),
    }
    return [Row(name, f"{what}, one core", rate(call, batch), "documents/s") for name, (what, call) in work.items()]


if __name__ == "__main__":
    raise SystemExit(main("curate-columns", __doc__ or "", measure))
