"""Standard error without the lines that a library in C++ writes there, which no logger of Python hears.

All that is written to the file descriptor passes through a pipe while the block runs. Lines that match stay here, for
whoever reports the failure; the rest goes on at once, a live line without its newline too: only what begins as such a
line does is waited for, to its end.
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
LONGEST = 4096
"""Bytes of a line that is waited for."""


class WithheldLines:
    """``lines`` are those that matched so far."""

    def __init__(self, pattern: re.Pattern[bytes], beginning: re.Pattern[bytes], target: int) -> None:
        self._pattern, self._beginning, self._target = pattern, beginning, target
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

    def _may_match(self, part: bytes) -> bool:
        """Whether the rest of a line is waited for of which this ``part`` is there."""
        return len(part) < LONGEST and self._beginning.match(part) is not None

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._target, data) :]
            except OSError:  # whoever read it is gone
                return


@contextlib.contextmanager
def withheld(pattern: re.Pattern[bytes], beginning: re.Pattern[bytes]) -> Iterator[WithheldLines]:
    """Withhold lines of standard error that match ``pattern`` for the length of the block.

    ``beginning`` matches what may become such a line, however little of it is there.
    """
    try:
        before = os.dup(_STDERR)
    except OSError:  # it is closed: nothing is written there
        yield WithheldLines(pattern, beginning, _STDERR)
        return
    source, sink = os.pipe()
    os.dup2(sink, _STDERR)
    os.close(sink)
    passing = WithheldLines(pattern, beginning, before)
    reader = threading.Thread(target=passing.read, args=(source,), name="mnemic-stderr", daemon=True)
    reader.start()
    try:
        yield passing
    finally:
        os.dup2(before, _STDERR)
        reader.join(1.0)  # a process that was started meanwhile may hold the pipe for as long as it lives
        if not reader.is_alive():
            os.close(before)
