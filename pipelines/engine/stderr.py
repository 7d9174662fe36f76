"""Standard error without the lines that a library in C++ writes there, which no logger of Python hears.

All that is written to the file descriptor passes through a pipe while the block runs. Lines that match stay here, for
whoever reports the failure; the rest goes on at once, a live line without its newline too.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

_STDERR = 2
MOST = 100
"""Lines that are remembered."""


class WithheldLines:
    """``lines`` are those that matched so far."""

    def __init__(self, pattern: re.Pattern[bytes], target: int) -> None:
        self._pattern, self._target = pattern, target
        self.lines: list[str] = []

    def read(self, source: int) -> None:
        """Pass on what comes from ``source`` until nobody can write there any more."""
        pending = b""
        while data := os.read(source, 1 << 16):
            *lines, pending = (pending + data).split(b"\n")
            passed = b"".join(line + b"\n" for line in lines if not self._withheld(line))
            if not self._may_match(pending):
                passed, pending = passed + pending, b""
            self._write(passed)
        if not self._withheld(pending):
            self._write(pending)
        os.close(source)

    def _withheld(self, line: bytes) -> bool:
        if self._pattern.match(line) is None:
            return False
        if len(self.lines) < MOST:
            self.lines.append(line[:1000].decode("utf-8", "replace"))
        return True

    def _may_match(self, beginning: bytes) -> bool:
        """Whether a line that begins so is waited for: Ray's begin with a bracket and a digit."""
        return re.match(rb"\[(\d|$)", beginning) is not None and len(beginning) < 4096

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._target, data) :]
            except OSError:  # whoever read it is gone
                return


@contextlib.contextmanager
def withheld(pattern: re.Pattern[bytes]) -> Iterator[WithheldLines]:
    """Withhold lines of standard error that match ``pattern`` for the length of the block."""
    try:
        before = os.dup(_STDERR)
    except OSError:  # it is closed: nothing is written there
        yield WithheldLines(pattern, _STDERR)
        return
    source, sink = os.pipe()
    os.dup2(sink, _STDERR)
    os.close(sink)
    passing = WithheldLines(pattern, before)
    reader = threading.Thread(target=passing.read, args=(source,), name="mnemic-stderr", daemon=True)
    reader.start()
    try:
        yield passing
    finally:
        os.dup2(before, _STDERR)
        reader.join(1.0)  # a process that was started meanwhile may hold the pipe for as long as it lives
        if not reader.is_alive():
            os.close(before)
