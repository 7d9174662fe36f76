"""One event stream for people and programs: the terminal's progress lines and the JSON log are two views of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from mnemic.terminal import plain

ProgressKind = Literal[
    "run-start", "waiting", "step-start", "fragment", "progress", "commit", "reject", "repair", "step-end", "run-end"
]


@dataclass(frozen=True)
class ProgressEvent:
    """One event of a run. ``kind`` is "waiting" while another run has the lease, "fragment" when one is computed."""

    kind: ProgressKind
    run: str
    step: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    fragment: int | None = None
    seconds: float = 0.0
    message: str = ""
    at: float = field(default_factory=time.time)


REJECTS_TOLD = 5

Sink = Callable[[ProgressEvent], None]


class JsonLog:
    """One JSON object a line, flushed at once, so that the last line of a killed run is there to read."""

    def __init__(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the run

    def __call__(self, event: ProgressEvent) -> None:
        self._file.write(json.dumps({key: value for key, value in asdict(event).items() if value not in ("", None)}))
        self._file.write("\n")
        self._file.flush()


class TerminalLines:
    """One line per step: rewritten in place on a terminal, printed every ten seconds elsewhere.

    The first few rejects of a step are printed, and the number of the others.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.2 if self._live else every
        self._started = self._last = 0.0
        self._rejects = 0
        self._closed = False

    def __call__(self, event: ProgressEvent) -> None:
        if event.kind == "step-start":
            self._started = self._last = event.at
            self._rejects = 0
        elif event.kind == "progress" and event.at - self._last >= self._every and event.done < event.total:
            self._last = event.at
            self._write(event, end="" if self._live else "\n")
        elif event.kind == "step-end":
            if self._rejects > REJECTS_TOLD:
                more = f"  and {self._rejects - REJECTS_TOLD:,} more; `mnemic show BANK --failures` lists them"
                self._line(more, "\n")
            self._write(event, end="\n")
        elif event.kind == "reject":
            self._rejects += 1
            if self._rejects <= REJECTS_TOLD:
                self._line(plain(event.message), "\n")
        elif event.kind in ("waiting", "repair", "run-end") and event.message:
            self._line(plain(event.message), "\n")

    def _write(self, event: ProgressEvent, end: str) -> None:
        elapsed = event.seconds or event.at - self._started
        parts = [f"{event.step:<12}"]
        if event.message:
            parts.append(plain(event.message))
        elif event.total:
            rate = event.done / elapsed if elapsed > 0 else 0.0
            parts.append(f"{event.done:,} / {event.total:,} {event.unit}  {rate:,.0f}/s")
            if 0 < event.done < event.total and rate:
                parts.append(f"{(event.total - event.done) / rate:,.0f} s left")
        parts.append(f"{elapsed:.1f} s")
        self._line("  ".join(parts), end)

    def _line(self, text: str, end: str) -> None:
        if self._closed:
            return
        try:
            self._stream.write(f"\r\x1b[2K{text}{end}" if self._live else f"{text}{end}")
            self._stream.flush()
        except BrokenPipeError:  # nobody reads any more (`| head`); that is no reason to stop building
            self._closed = True
