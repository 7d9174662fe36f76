"""What builds on this machine took, against what was expected of them; the next estimate is corrected by it.

One small file of the user's cache, `mnemic/pace.json` below `XDG_CACHE_HOME` or `~/.cache`; `MNEMIC_PACE` names another
file, or is `off`. It holds logarithms of ratios alone, no name of a bank and no text. Anybody may have written it: it
is read within limits, what is out of bounds is left out, and a file that is no such thing is as good as none. The speed
of its processor is kept there too.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnemic.dataset import Store
from mnemic.opening import open_regular

LARGEST = 256 << 10
"""Bytes of the file that are read."""

MOST = 500
"""Entries of each kind that are kept."""

STEEPEST = math.log(50.0)
"""No ratio of 50 or more, or a fiftieth or less, is believed."""

MEMORY = 3.0
"""Builds that the newest is averaged with at most: a machine changes."""

PROBED_DAYS = 30.0
"""A probe's best is believed so long: a machine changes."""

_NAME = re.compile(r"[A-Za-z0-9][\w./:@ -]{0,79}")


@dataclass
class MachinePace:
    """``ratios``: what something took, over what was expected, as (logarithm, builds behind it).

    Keys of steps are "inline embed", of the text that a kind of source gives "text folder characters". ``probes``: how
    much slower a processor is than that of the shipped rates, as (logarithm, day since 1970) of the best probe.
    """

    ratios: dict[str, tuple[float, float]] = field(default_factory=dict)
    probes: dict[str, tuple[float, float]] = field(default_factory=dict)
    changed: bool = False

    def probe(self, key: str, ratio: float) -> float:
        """``ratio``, or a better one of the last `PROBED_DAYS` days: work beside a probe only makes it slower."""
        today = time.time() // 86400
        log, day = self.probes.get(key, (math.inf, today))
        newest = math.log(max(ratio, 1e-9))
        if not (log <= newest and 0 <= today - day <= PROBED_DAYS) and abs(newest) <= STEEPEST and _NAME.fullmatch(key):
            self.probes.pop(key, None)
            self.probes[key], self.changed = (newest, today), True
            return ratio
        return min(math.exp(log), ratio) if log < math.inf else ratio

    def ratio(self, key: str) -> float | None:
        """What ``key`` took, over what was expected; None where nothing of it is known."""
        return math.exp(self.ratios[key][0]) if key in self.ratios else None

    def learn(self, key: str, expected: float, actual: float) -> None:
        """Take note of one more outcome; what is not above nothing says nothing."""
        if not (expected > 0 and actual > 0 and _NAME.fullmatch(key)):
            return
        newest = min(max(math.log(actual) - math.log(expected), -STEEPEST), STEEPEST)
        before, builds = self.ratios.pop(key, (0.0, 0.0))
        weight = min(builds, MEMORY)
        self.ratios[key] = ((before * weight + newest) / (weight + 1), builds + 1)  # the newest stand last


def pace_file() -> Path | None:
    """Where the pace of this machine is kept; None where it is turned off."""
    named = os.environ.get("MNEMIC_PACE")
    if named:
        return None if named == "off" else Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mnemic", "pace.json")


def read_pace() -> MachinePace:
    """The pace of this machine, as far as its file can be believed."""
    place = pace_file()
    if place is None:
        return MachinePace()
    try:
        with open_regular(os.path.realpath(place)) as file:
            text = file.read(LARGEST + 1)
        value = json.loads(text) if len(text) <= LARGEST else None
    except (OSError, ValueError, RecursionError):
        return MachinePace()
    return MachinePace(dict(_believed(value, "ratios")), dict(_believed(value, "probes")))


def _believed(value: Any, name: str) -> list[tuple[str, tuple[float, float]]]:
    pairs = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(pairs, Mapping):
        return []
    return [
        (key, (float(pair[0]), float(pair[1])))
        for key, pair in list(pairs.items())[-MOST:]
        if _NAME.fullmatch(key)
        and isinstance(pair, list)
        and len(pair) == 2
        and all(type(number) in (int, float) and abs(number) < 1e6 for number in pair)
        and abs(pair[0]) <= STEEPEST
        and pair[1] >= 0
    ]


def write_pace(pace: MachinePace) -> None:
    """Keep ``pace`` for the next estimate. Where that cannot be, nothing is lost but an estimate."""
    place = pace_file()
    if place is None:
        return
    every = {"ratios": pace.ratios, "probes": pace.probes}
    newest = {name: list(pairs.items())[-MOST:] for name, pairs in every.items()}
    text = json.dumps(
        {name: {key: [round(log, 4), number] for key, (log, number) in pairs} for name, pairs in newest.items()}
    )
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=".pace-", dir=place.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
            os.replace(beside, place)
        except OSError:
            os.unlink(beside)
            raise


def past_rates(store: Store) -> dict[str, float]:
    """Rows a second of each step over its past runs in a bank: for steps of which nothing else is known."""
    snapshot = store["runs"].snapshot()
    rows: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for row in [] if snapshot is None else snapshot.table(["step", "rows", "seconds"], "rows > 0").to_pylist():
        rows[row["step"]] = rows.get(row["step"], 0) + row["rows"]
        seconds[row["step"]] = seconds.get(row["step"], 0.0) + row["seconds"]
    return {step: rows[step] / seconds[step] for step in rows if seconds[step] > 0}
