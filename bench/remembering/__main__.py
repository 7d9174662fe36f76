"""Remembering: from the call to the hit, what waiting rows cost a search, and files against appends of Lance.

`found_p50` and `found_p95` are of `Bank.remember` of a sentence and the next `Bank.search`, which finds it, in one
process whose encoder is warm, on a bank of mnemic's own pages. `waiting_p50` is a search with a thousand rows waiting
that were encoded before, `released_p50` the same search of the release alone. Times are of the clock, and processor
times beside them: `cpu` is of all threads.

`file_appends` and `lance_appends` are calls a second of 4 processes at once, into the inbox and into a dataset of Lance
by commits that are tried again on a conflict; `lance_refused` are those that were refused for good.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import mnemic
from bench.cluster.vectors import ENCODER
from bench.report import Row, main, tell
from mnemic.dataset import Dataset, Store
from mnemic.dataset.write import append, write_rows

ROOT = Path(__file__).parents[2]
PROCESSES = 4
SCHEMA = pa.schema([pa.field("text", pa.string(), nullable=False)])


def measure(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bank = _bank(root)
        rows = _found(bank, 10 if quick else 50)
        rows += _waiting(bank, 100 if quick else 1_000)
        rows += _appends(root, str(bank.path), 5 if quick else 25)
    return rows


def _bank(root: Path) -> mnemic.Bank:
    pages = root / "pages"
    pages.mkdir()
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        shutil.copy(page, pages)
    recipe = {
        "name": "pages",
        "bank": str(root / "bank"),
        "sources": [{"kind": "folder", "path": str(pages)}],
        "embed": {"model": ENCODER},
    }
    tell("building the bank")
    mnemic.build(recipe, engine="inline", device="cpu")
    return mnemic.open_bank(root / "bank")


def _found(bank: mnemic.Bank, times: int) -> list[Row]:
    bank.remember("The first row.")
    bank.search("the first row", k=1)

    def once(number: int) -> None:
        bank.remember(f"Platypus {number} signed contract {37 * number} beside the observatory.")
        hits = bank.search(f"which contract did platypus {number} sign?", k=5)
        if not any(f"Platypus {number} " in hit.text for hit in hits):
            raise RuntimeError(f"row {number} was not found")

    walls, cpus = _timed(once, times)
    return [
        Row("found_p50", "remember and find a row", statistics.median(walls), "ms", 1000, 50, False),
        Row("found_p95", "the same", sorted(walls)[int(0.95 * times)], "ms", 1000, None, False),
        Row("found_cpu", "the same, processor time", statistics.median(cpus), "ms"),
    ]


def _waiting(bank: mnemic.Bank, count: int) -> list[Row]:
    for number in range(count):
        bank.remember(f"Filler {number} speaks of subject {number % 97} and of place {number % 53}.")
    tell(f"encoding {count} rows")
    first, _ = _timed(lambda number: bank.search("subject and place", k=5), 1)
    for _ in range(count // 64 + 1):
        bank.search("subject and place", k=5)
    walls, cpus = _timed(lambda number: bank.search(f"subject {number} and place {number}", k=5), 20)
    alone = mnemic.open_bank(bank.path, bank.release.name)
    alone.search("subject and place", k=5)
    released, released_cpus = _timed(lambda number: alone.search(f"subject {number} and place {number}", k=5), 20)
    return [
        Row("first_search", f"after {count} rows that nobody encoded", first[0], "ms", 2000, None, False),
        Row("waiting_p50", f"search with {count} rows waiting", statistics.median(walls), "ms"),
        Row("waiting_cpu", "the same, processor time", statistics.median(cpus), "ms"),
        Row("released_p50", "search of the release alone", statistics.median(released), "ms"),
        Row("released_cpu", "the same, processor time", statistics.median(released_cpus), "ms"),
    ]


def _timed(action: Callable[[int], Any], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of the clock and of the processors, of each time."""
    walls, cpus = [], []
    for number in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        action(number)
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (time.process_time() - cpu))
    return walls, cpus


def _appends(root: Path, bank: str, calls: int) -> list[Row]:
    Store(root / "lance")["rows"].create(SCHEMA, {}, {})
    rows = []
    for way, place in (("file", bank), ("lance", str(root / "lance"))):
        tell(f"{PROCESSES} processes append {calls} rows each: {way}")
        command = [sys.executable, "-m", "bench.remembering", "--append", way, place, str(calls)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(PROCESSES)]
        answers = [process.communicate()[0].split() for process in processes]
        begun, ended = min(float(one[0]) for one in answers), max(float(one[1]) for one in answers)
        done = sum(int(one[2]) for one in answers)
        rows.append(Row(f"{way}_appends", f"{PROCESSES} processes at once", done / (ended - begun), "calls/s"))
    rows.append(Row("lance_refused", "of them, for good", PROCESSES * calls - done, "calls"))
    return rows


def _append(way: str, place: str, calls: int) -> None:
    """Print when it began and ended, and how many calls were answered."""
    if way == "file":
        bank = mnemic.open_bank(place)

        def call(number: int) -> None:
            bank.remember(f"A row of process {number}, as short as people speak.")
    else:
        dataset = Dataset(f"{place}/rows.lance")

        def call(number: int) -> None:
            table = pa.table({"text": [f"A row of process {number}, as short as people speak."]}, schema=SCHEMA)
            append(dataset, write_rows(dataset.uri, table, SCHEMA), {})

    begun, done = time.time(), 0
    for number in range(calls):
        try:
            call(number)
            done += 1
        except (OSError, ValueError, mnemic.MnemicError):
            continue
    print(begun, time.time(), done)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--append"]:
        _append(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        raise SystemExit(0)
    raise SystemExit(main("remembering", __doc__ or "", measure))
