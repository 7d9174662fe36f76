"""A second process that keeps a live line of a terminal moving while this one cannot.

Loading a large library holds the interpreter for seconds, in which no thread of it writes. The process beside it is
this file run alone: it reads lines from its standard input, and when none came for a second it writes the last one
again with the seconds since. It ends with the pipe, so it outlives nobody. Where it cannot be started nothing is lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TextIO

QUIET_SECONDS = 1.0


class Ticker:
    """Writes to ``stream``, a terminal, while nobody else does. `show` what stands there; "" is nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError, ValueError):  # no file of the system is behind it, or no process to be had
            command = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
            output = stream.fileno()
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL, close_fds=True
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)

    def show(self, line: str) -> None:
        """``line`` stands on the terminal now, without its newline."""
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError, ValueError):  # it is gone, or its terminal is stopped: it is not waited for
            os.write(self._process.stdin.fileno(), line.replace("\n", " ").encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        """Write nothing more."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process = None


def main() -> None:
    """Read lines, and write the last one again once a second while none comes."""
    import select

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that works
    pending, line, last_word = b"", b"", time.monotonic()
    while True:
        if select.select([0], [], [], QUIET_SECONDS)[0]:
            read = os.read(0, 1 << 16)
            if not read:
                return
            pending = (pending + read)[-(1 << 16) :]
            *lines, pending = pending.split(b"\n")
            if lines:
                line, last_word = lines[-1], time.monotonic()
        elif line:
            seconds = b"  +%d s" % round(time.monotonic() - last_word)
            columns = (os.get_terminal_size(1).columns if os.isatty(1) else 0) or 80
            width = max(columns - 1 - len(seconds), 10)
            shown = line.decode("utf-8", "replace")[:width].encode("utf-8")
            os.write(1, b"\r\x1b[2K" + shown + seconds)


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        main()
