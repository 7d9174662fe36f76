"""One event stream for people and programs: the terminal's progress lines and the JSON log are two views of it."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from mnemic.advice import for_bank
from mnemic.terminal import plain
from pipelines.live import LiveLine, StepPace, WithLiveLine, duration, memory, rate

ProgressKind = Literal[
    "run-start",
    "waiting",
    "estimate",
    "checking",
    "step-start",
    "fragment",
    "progress",
    "commit",
    "reject",
    "repair",
    "step-end",
    "run-end",
]


@dataclass(frozen=True)
class ProgressEvent:
    """One event of a run. ``kind`` is "waiting" while another run has the lease, "fragment" when one is computed.

    "checking" and "step-start" have which step of how many it is in ``done`` and ``total``. "progress" has the
    ``workers`` of the step and its ``device``, if the build was told one.
    """

    kind: ProgressKind
    run: str
    step: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    fragment: int | None = None
    seconds: float = 0.0
    message: str = ""
    workers: int = 0
    device: str = ""
    at: float = field(default_factory=time.time)


REJECTS_TOLD = 5

Sink = Callable[[ProgressEvent], None]


class JsonLog:
    """One JSON object a line, flushed at once, so that the last line of a killed run is there to read."""

    def __init__(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the run

    def __call__(self, event: ProgressEvent) -> None:
        facts = {key: value for key, value in asdict(event).items() if value not in ("", None)}
        self._file.write(json.dumps(facts if event.workers else {k: v for k, v in facts.items() if k != "workers"}))
        self._file.write("\n")
        self._file.flush()


class TerminalLines(WithLiveLine):
    """A live line of the running step on a terminal; elsewhere a line every ten seconds while there is progress.

    A finished step leaves one line: which it is of how many, rows, pace and time. Of the rejects of a step the first
    few are printed, and the number of the others. As a context manager it draws between events too, and ends with the
    block.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._line = LiveLine(stream or sys.stderr, self._live_text)
        self._every = every
        self._started = self._last = time.time()
        self._rejects = 0
        self._place = ""
        self._head = "starting"
        self._latest: ProgressEvent | None = None
        self._pace = StepPace()
        self._bank = ""

    def __call__(self, event: ProgressEvent) -> None:
        if event.kind == "run-start":
            self._bank = event.message.removeprefix("bank ")
        elif event.kind in ("checking", "step-start"):
            self._place = f"[{event.done}/{event.total}] " if event.total else ""
            self._head = f"{event.step:<12}" + ("looking for what is left" if event.kind == "checking" else "starting")
            self._latest, self._pace = None, StepPace()
            self._started = self._last = event.at
            self._rejects = 0
        if event.kind == "progress":
            self._latest = event
            self._pace.hear(event.done, event.at)
            if not self._line.live and event.at - self._last >= self._every and event.done < event.total:
                self._last = event.at
                self._line.line(self._text(event))
        elif event.kind == "step-end":
            self.tell_more_rejects()
            self._head, self._latest = "", None
            self._line.line(self._text(event))
        elif event.kind == "reject":
            self._rejects += 1
            if self._rejects <= REJECTS_TOLD:
                self._line.line(plain(event.message))
        elif event.kind in ("waiting", "estimate", "repair", "run-end") and event.message:
            self._line.line(plain(event.message))
        self._line.draw()

    def tell_more_rejects(self) -> None:
        """At the end of a step: how many rejects were not printed."""
        if self._rejects > REJECTS_TOLD:
            more = self._rejects - REJECTS_TOLD
            advice = for_bank("`mnemic show BANK --failures` lists them", self._bank)
            self._line.line(plain(f"  and {more:,} more; {advice}"))
            self._rejects = 0

    def _text(self, event: ProgressEvent) -> str:
        elapsed = event.seconds or event.at - self._started
        parts = [f"{self._place}{event.step:<12}"]
        if event.message:
            parts.append(plain(event.message))
        elif event.total:
            ended = event.done == event.total and event.kind == "step-end"
            parts.append(f"{event.done:,} {event.unit}" if ended else f"{event.done:,} / {event.total:,} {event.unit}")
            parts += [rate(event.done, elapsed)] if ended else self._pace.words(event.done, event.total, event.at)
        return "  ".join([*filter(None, parts), duration(elapsed)])

    def _live_text(self) -> str:
        now = time.time()
        if self._latest is None:
            if not self._head:
                return ""
            return "  ".join(filter(None, [f"{self._place}{self._head}", duration(now - self._started), memory()]))
        latest = self._latest
        text = self._text(dataclasses.replace(latest, at=now))
        workers = f"{latest.workers} worker{'s' * (latest.workers != 1)}" if latest.workers else ""
        rejects = f"{self._rejects:,} left out" if self._rejects else ""
        return "  ".join(filter(None, [text, workers, latest.device, rejects, memory()]))
