"""One document of a corpus changes, and the bank is built again, many times: what it costs in bytes and in CPU time.

`bytes_after_prune` divides the bytes of the bank after all builds and `mnemic prune --keep 3` by those of a bank that
is built once of the last corpus. `cpu_with_upkeep` divides the CPU time of a build after the last ones, the median of
three, by that of the first three that changed a document; every ten builds the bank is pruned and compacted where that
is due, as `mnemic-upkeep` does. `cpu_without` says what it is without upkeep, in another bank. Everything runs in this
process, with an encoder of 32 components, as far as the tree of clusters: 300 documents, 60 builds.

Expected on machine C of LOG.md, beside much other work: 1.15 x bytes, 1.36 x CPU with upkeep and 3.8 x without; with
`--quick` (4 builds, with upkeep alone) 1.05 x bytes and 0.9 to 1.0 x CPU.
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
"""Builds at the beginning and at the end whose median is compared."""


def measure(quick: bool) -> Sequence[Row]:
    documents, builds = 300, 4 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder) / "encoder"
        save_encoder(encoder, width=32)
        size, fresh, cost = _series(Path(folder) / "kept-up", encoder, documents, builds, upkeep=True)
        tell(f"{size:,} bytes after all, {fresh:,} of a fresh bank")
        alone = None if quick else _series(Path(folder) / "left-alone", encoder, documents, builds, upkeep=False)
    text = f"of {builds} builds"
    rows = [
        Row(
            "bytes_after_prune",
            f"bytes {text} and a prune, by a fresh bank's",
            size / fresh,
            "x",
            1.3,
            1.1,
            higher_is_better=False,
        ),
        Row("cpu_with_upkeep", f"CPU of the last {text}, by the first's", cost, "x", 1.5, 1.1, higher_is_better=False),
    ]
    if alone is not None:
        rows.append(Row("cpu_without", f"the same {text}, without upkeep", alone[2], "x", higher_is_better=False))
    return rows


def _series(folder: Path, encoder: Path, documents: int, builds: int, upkeep: bool) -> tuple[int, int, float]:
    """Bytes after the builds and a prune, bytes of a fresh bank, and the ratio of the costs."""
    warnings.filterwarnings("ignore")
    import mnemic

    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for number in range(documents):
        (corpus / f"{number:04d}.txt").write_text(_text(number), encoding="utf-8")
    recipe: dict[str, Any] = {
        "name": "months",
        "bank": str(folder / "bank"),
        "sources": [{"kind": "folder", "path": str(corpus)}],
        "embed": {"model": str(encoder), "dtype": "float32"},
        "cluster": {},
    }
    mnemic.build(recipe, engine="inline")
    seconds = []
    for number in range(builds):
        (corpus / "0000.txt").write_text(_text(documents + number), encoding="utf-8")
        started = time.process_time()
        mnemic.build(recipe, engine="inline")
        seconds.append(time.process_time() - started)
        tell(f"{folder.name} {number + 1}: {seconds[-1]:.2f} s of CPU")
        if upkeep and (number + 1) % min(UPKEEP, builds // 2) == 0 and number + 1 < builds:
            mnemic.compact(recipe["bank"])
            mnemic.prune(recipe["bank"], keep=3, keep_monthly=0)
    mnemic.prune(recipe["bank"], keep=3, keep_monthly=0)
    mnemic.build({**recipe, "bank": str(folder / "fresh")}, engine="inline")
    cost = statistics.median(seconds[-SIDES:]) / statistics.median(seconds[:SIDES])
    return _bytes(folder / "bank"), _bytes(folder / "fresh"), cost


def _text(number: int) -> str:
    """A document of its own for each number: 60 sentences."""
    drawn = random.Random(number)
    words = [f"{first}{last}" for first in ("ka", "ro", "mi", "te", "lu", "sen") for last in ("n", "ra", "st")]
    return " ".join(" ".join(drawn.choices(words, k=9)).capitalize() + "." for _ in range(60))


def _bytes(bank: Path) -> int:
    return sum(path.stat().st_size for path in bank.rglob("*") if path.is_file())


if __name__ == "__main__":
    raise SystemExit(main("over_time", __doc__ or "", measure))
