"""The cost of the columns beside the statistics, and of what is masked: documents a second, one core.

    python -m bench.curate.columns [--quick] [--json FILE]

The documents are the files of the standard library of the Python that runs, largest first, cut into pieces of 5,000
characters: 2,000 of them, 300 with ``--quick``. Seconds are CPU seconds of one process, the least of three. Nothing is
said of how right an answer is: texts of programs are no sample of anything. Quality is trained on public data
(`bench.data`: wikitext-2, qmsum).
"""

from __future__ import annotations

import json
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench import data
from bench.report import Row, main
from operators.language import Language
from operators.pii.operator import PersonalData
from operators.quality.linear import LinearModel, separation

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
    return float(batch.num_rows / min(seconds))


def measure(quick: bool) -> list[Row]:
    batch = documents(300 if quick else 2000)
    masking = PersonalData(action="mask").masking
    assert masking is not None
    work: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "language": ("languages told", Language().open("cpu")),
        "pii_mark": ("personal data marked", PersonalData().open("cpu")),
        "pii_mask": ("personal data masked", lambda rows: masking.texts(rows.column("text").to_pylist())),
    }
    rows = [Row(name, f"{what}, one core", rate(call, batch), "documents/s") for name, (what, call) in work.items()]
    return [*rows, *quality(batch)]


def pieces(text: str, words: int) -> list[str]:
    """``text`` in pieces of so many words."""
    every = text.split()
    return [" ".join(every[first : first + words]) for first in range(0, len(every) - words, words)]


def quality(batch: pa.RecordBatch) -> Iterator[Row]:
    """What training and scores cost, and how well articles and meetings are parted, by pieces of some words.

    The first half of either set is trained on, the second is held out.
    """
    articles = data.path("wikitext-2").read_text()
    meetings = " ".join(
        turn["content"]
        for line in data.path("qmsum").read_text().splitlines()
        for turn in json.loads(line)["meeting_transcripts"]
    )
    for words in (100, 12):
        parts = [pieces(articles, words), pieces(meetings, words)]
        count = min(2000, *(len(part) // 2 for part in parts))
        train = [text for pair in zip(*(part[:count] for part in parts), strict=True) for text in pair]
        held_out = [text for pair in zip(*(part[-count:] for part in parts), strict=True) for text in pair]
        good = np.arange(2 * count) % 2 == 0
        begun = time.process_time()
        trained = LinearModel.train(pa.array(train, pa.large_string()), good, 5, 0.3)
        seconds = time.process_time() - begun
        apart = separation(trained.scores(pa.array(held_out, pa.large_string())), good)
        yield Row(f"quality_auc_{words}", f"articles against meetings, pieces of {words} words, held out", apart, "AUC")
        yield Row(f"quality_train_{words}", f"{2 * count:,} examples, 5 epochs", 2 * count / seconds, "documents/s")
    yield Row("quality_score", "scores", rate(lambda rows: trained.scores(rows.column("text")), batch), "documents/s")


if __name__ == "__main__":
    raise SystemExit(main("curate-columns", __doc__ or "", measure))
