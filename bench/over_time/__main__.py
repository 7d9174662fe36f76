"""One document of a corpus changes, and the bank is built again, many times: what it costs in bytes and in CPU time.

`bytes_after_prune` divides the bytes of the bank after 60 builds and `mnemic prune --keep 3` by those of a bank that is
built once of that corpus. `cpu_with_upkeep` divides the CPU time of a build after 200 releases, the median of three, by
that of the first three that changed a document; every ten builds the bank is pruned and compacted where that is due, as
`mnemic-upkeep` does. The table on the way has the medians of each ten. `cpu_without` says what 60 builds without upkeep
come to, in another bank. Everything runs in this process, with an encoder of 32 components, as far as the tree of
clusters: 300 documents.

Expected on machine C of LOG.md, beside other work, in twelve minutes: bytes_after_prune 1.15, cpu_with_upkeep
0.93, cpu_without 3.3.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import Row, main, tell
from bench.tiny_models import save_encoder

UPKEEP = 10
"""Builds between two prunes and compactions; of few builds half of them."""

SIDES = 3
"""Builds at the beginning and behind the last release whose median is compared."""

PRUNED = 60
"""Builds after which the bytes are compared."""


def measure(quick: bool) -> Sequence[Row]:
    documents, builds, pruned = (300, 4, 4) if quick else (300, 200, PRUNED)
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder) / "encoder"
        save_encoder(encoder, width=32)
        series = Series(Path(folder) / "kept-up", encoder, documents)
        cost = series.run(builds, upkeep=True, bytes_after=pruned)
        tell(f"{series.size:,} bytes after {pruned} builds, {series.fresh:,} of a fresh bank")
        alone = None if quick else Series(Path(folder) / "left-alone", encoder, documents).run(PRUNED, upkeep=False)
    rows = [
        Row(
            "bytes_after_prune",
            f"bytes of {pruned} builds and a prune, by a fresh bank's",
            series.size / series.fresh,
            "x",
            1.3,
            1.1,
            higher_is_better=False,
        ),
        Row(
            "cpu_with_upkeep",
            f"CPU of a build after {builds} releases, by the first's",
            cost,
            "x",
            1.5,
            1.1,
            higher_is_better=False,
        ),
    ]
    if alone is not None:
        words = f"the same after {PRUNED} releases without upkeep"
        rows.append(Row("cpu_without", words, alone, "x", higher_is_better=False))
    return rows


class Series:
    """A bank of ``documents``, built again and again in ``folder``; ``size`` and ``fresh`` are bytes."""

    size = fresh = 0

    def __init__(self, folder: Path, encoder: Path, documents: int) -> None:
        self._folder, self._corpus, self._documents = folder, folder / "corpus", documents
        self._corpus.mkdir(parents=True)
        for number in range(documents):
            (self._corpus / f"{number:04d}.txt").write_text(_text(number), encoding="utf-8")
        self._recipe: dict[str, Any] = {
            "name": "months",
            "bank": str(folder / "bank"),
            "sources": [{"kind": "folder", "path": str(self._corpus)}],
            "embed": {"model": str(encoder), "dtype": "float32"},
            "cluster": {},
        }

    def run(self, builds: int, upkeep: bool, bytes_after: int = 0) -> float:
        """The ratio of the costs of the builds after ``builds`` releases and of the first."""
        warnings.filterwarnings("ignore")
        import mnemic

        bank, seconds = self._recipe["bank"], list[float]()
        mnemic.build(self._recipe, engine="inline")
        for number in range(builds + SIDES):
            (self._corpus / "0000.txt").write_text(_text(self._documents + number), encoding="utf-8")
            started = time.process_time()
            mnemic.build(self._recipe, engine="inline")
            seconds.append(time.process_time() - started)
            tell(f"{self._folder.name} {number + 1}: {seconds[-1]:.2f} s of CPU")
            if upkeep and (number + 1) % min(UPKEEP, builds // 2) == 0:
                mnemic.compact(bank)
                mnemic.prune(bank, keep=3, keep_monthly=0)
            if number + 1 == bytes_after:
                mnemic.prune(bank, keep=3, keep_monthly=0)
                mnemic.build({**self._recipe, "bank": str(self._folder / "fresh")}, engine="inline")
                self.size, self.fresh = _bytes(Path(bank)), _bytes(self._folder / "fresh")
        tens = [statistics.median(seconds[start : start + UPKEEP]) for start in range(0, builds, UPKEEP)]
        tell(f"{self._folder.name}, medians of each {UPKEEP}: " + " ".join(f"{median:.2f}" for median in tens))
        return statistics.median(seconds[-SIDES:]) / statistics.median(seconds[:SIDES])


def _text(number: int) -> str:
    """A document of its own for each number: 60 sentences."""
    drawn = random.Random(number)
    words = [f"{first}{last}" for first in ("ka", "ro", "mi", "te", "lu", "sen") for last in ("n", "ra", "st")]
    return " ".join(" ".join(drawn.choices(words, k=9)).capitalize() + "." for _ in range(60))


def _bytes(bank: Path) -> int:
    return sum(path.stat().st_size for path in bank.rglob("*") if path.is_file())


if __name__ == "__main__":
    raise SystemExit(main("over_time", __doc__ or "", measure))
