"""Output of every measurement: a table, and rows of JSON with what was measured, how, and on which machine."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.data import MissingData

INSTALL = "pip install -r bench/requirements.txt -c deploy/constraints.txt"


class MissingPeer(Exception):
    """A library to compare with is not installed; the message says how it is."""


@dataclass(frozen=True)
class Row:
    """One number. ``must`` and ``goal`` are bounds in ``unit``; ``peer`` is what a ratio compares with."""

    id: str
    metric: str
    value: float
    unit: str
    must: float | None = None
    goal: float | None = None
    higher_is_better: bool = True
    peer: str = ""

    @property
    def holds(self) -> bool | None:
        if self.must is None:
            return None
        return self.value >= self.must if self.higher_is_better else self.value <= self.must

    @property
    def reached(self) -> bool:
        """Whether the value is that of its goal, if it has one, or better."""
        if self.goal is None:
            return False
        return self.value >= self.goal if self.higher_is_better else self.value <= self.goal


def main(name: str, about: str, measure: Callable[[bool], Sequence[Row]]) -> int:
    """Run ``measure(quick)`` and report.

    Exit code 1 when a row misses what it must hold, 2 where data or a peer without which nothing can be measured is
    missing.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m bench.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less work, within five minutes; no claim")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON Lines")
    arguments = parser.parse_args()
    try:
        rows = measure(arguments.quick)
    except (MissingData, MissingPeer) as error:
        print(error, file=sys.stderr)
        return 2
    width = max((len(row.id) for row in rows), default=0)
    print(f"\n{machine()}{'  (quick: no claim)' if arguments.quick else ''}\n")
    for row in rows:
        bound = "" if row.must is None else f"  must {row.must:g}{'' if row.holds else '  MISSED'}"
        if row.goal is not None:
            bound += f"  goal {row.goal:g}{'' if row.reached else '  not reached'}"
        print(f"{row.id:<{width}}  {row.value:>10.4g} {row.unit:<12} {row.metric}{bound}")
    if arguments.json:
        common = {"command": " ".join(["python", "-m", f"bench.{name}", *sys.argv[1:]]), "machine": machine()}
        lines = [json.dumps({**asdict(row), **common, "quick": arguments.quick}) for row in rows]
        Path(arguments.json).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if all(row.holds is not False for row in rows) else 1


def peer_library(module: str) -> Any:
    """The library that is compared with; raises `MissingPeer` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPeer(f"{module} is not installed, and nothing was compared with it: {INSTALL}") from error


def machine() -> str:
    """Processor, cores and memory of this machine."""
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}"


def paired(first: Callable[[], float], second: Callable[[], float], pairs: int) -> tuple[float, float, float]:
    """Medians of both, and the median of second / first over interleaved pairs."""
    firsts, seconds = [], []
    for _ in range(pairs):
        firsts.append(first())
        seconds.append(second())
    ratios = [b / a for a, b in zip(firsts, seconds, strict=True)]
    return statistics.median(firsts), statistics.median(seconds), statistics.median(ratios)


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def tell(line: str) -> None:
    """A line on the way, beside the table."""
    print(line, file=sys.stderr, flush=True)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
