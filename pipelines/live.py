"""A line of a terminal that is rewritten in place, four times a second, whether or not anything was heard meanwhile.

While this process cannot write, since a library is being loaded, another one does (`mnemic.ticker`).
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from mnemic.terminal import coloured
from mnemic.ticker import Ticker

EVERY_SECONDS = 0.25
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class LiveLine:
    """Draws the text of ``text()`` until it is closed, if ``stream`` is a terminal; lines go above it.

    Elsewhere only the lines are written. Nobody reading any more (`| head`) is no reason to stop working.
    """

    def __init__(self, stream: TextIO, text: Callable[[], str]) -> None:
        self.live = stream.isatty()
        self._stream, self._text = stream, text
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._ticker: Ticker | None = None

    def open(self) -> None:
        """Begin to draw."""
        if self.live and self._thread is None:
            self._ticker = Ticker(self._stream)
            self._thread = threading.Thread(target=self._run, name="live line", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Take the line away."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(1.0)
            if self._ticker is not None:
                self._ticker.close()
            self._write("\r\x1b[2K")

    def line(self, text: str) -> None:
        """A line that stays."""
        self._write(f"\r\x1b[2K{text}\n" if self.live else f"{text}\n")
        self.draw()

    def draw(self) -> None:
        """Draw the live line now."""
        if self._thread is None or self._closing.is_set():
            return
        text = self._text()
        if text:
            width = max(shutil.get_terminal_size().columns - 1, 20)
            shown = text if len(text) <= width else text[: width - 3] + "..."
            self._write(f"\r\x1b[2K\x1b[2m{shown}\x1b[0m" if coloured(self._stream) else f"\r\x1b[2K{shown}")
            if self._ticker is not None:
                self._ticker.show(shown)

    def _run(self) -> None:
        while not self._closing.wait(EVERY_SECONDS):
            self.draw()

    def _write(self, text: str) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                self._stream.write(text)
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._closed = True


class WithLiveLine:
    """Whoever has a live line: as a context manager it is drawn at once, and taken away at the end of the block."""

    _line: LiveLine

    def __enter__(self) -> Self:
        self._line.open()
        self._line.draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close()


class Working(WithLiveLine):
    """A context manager that says on a terminal's standard error what is being done, and for how long.

    Call it with words, or with (done, total) as well, whenever they change.
    """

    def __init__(self, words: str = "", stream: TextIO | None = None) -> None:
        self._words, self._done, self._total = words, 0, 0
        self._started = time.monotonic()
        self._line = LiveLine(stream or sys.stderr, self._text)

    def __call__(self, words: str, done: int = 0, total: int = 0) -> None:
        if words != self._words:
            self._started = time.monotonic()
        self._words, self._done, self._total = words, done, total
        if not done:
            self._line.draw()

    def _text(self) -> str:
        elapsed = time.monotonic() - self._started
        parts = [self._words]
        if self._total:
            parts.append(f"{self._done:,} of {self._total:,}")
            parts += [left(self._total - self._done, self._done, elapsed)]
        return "  ".join([*filter(None, parts), duration(elapsed)])


class StepPace:
    """How fast a step goes since it first told of something done: loading a model before that is no part of it."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def hear(self, done: int, at: float) -> None:
        """That so many are ``done`` at the time ``at`` in seconds."""
        if self._first is None and done > 0:
            self._first = (done, at)

    def words(self, done: int, total: int, at: float) -> list[str]:
        """The rate and the time left of ``done`` of ``total``; nothing before more is done than was first heard."""
        if self._first is None:
            return []
        first, since = self._first
        return [rate(done - first, at - since), left(total - done, done - first, at - since)]


def rate(done: float, seconds: float) -> str:
    """So many a second, a minute or an hour, in the unit that leaves a number above nothing; "" of nothing."""
    if done <= 0 or seconds <= 0:
        return ""
    for unit, length in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        value = done / seconds * length
        if value >= 1 or unit == "h":
            return f"{value:,.0f}/{unit}" if value >= 10 else f"{value:.1f}/{unit}"
    raise AssertionError


def duration(seconds: float) -> str:
    """A length of time as a person says it: 4.2 s, 45 s, 20 min, 3.5 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def left(remaining: int, done: int, seconds: float) -> str:
    """The time that is left for ``remaining`` where ``done`` took ``seconds``; "" where nothing can be said."""
    return f"{duration(remaining * seconds / done)} left" if done > 0 and remaining > 0 and seconds > 0 else ""


def memory() -> str:
    """Memory of this process, as 1.2 GB; "" where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident = int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return ""
    return f"{resident / 1e9:.1f} GB"
