"""A parser in a process of its own, since a file can crash it, make it run for ever, or let it fill the memory.

The process imports neither torch nor Lance and starts in .1 s; it takes one file after another and ends with its
parent. A file gets ``seconds`` of processor time, by a timer of the system that works inside of compiled code too, and
`MEMORY` of address space. Whatever ends the process is the fault of the file that it had: the next file gets a
new one, and a file that ended a process which had others before it is tried once more in a fresh one.

Frames are two lengths (JSON, bytes) and both parts. Nothing is pickled.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MEMORY = 2 << 30
"""Bytes of address space that a parser may take; Python and a library have .3 GB of it before they read anything."""

RESIDENT = 512 << 20
"""A parser that has more memory than that when it has answered is not used again."""

LARGE, SELDOM = 1 << 20, 8
"""Bytes of a file after which the memory is looked at, and the number of smaller files after which it is."""

SECONDS = 8.0
"""Processor time of a file, and as much again for each `BYTES_A_SECOND`."""

BYTES_A_SECOND = 200_000
PIPE = 1 << 20
"""Bytes that wait in a pipe, so that a page is one change of processes and not one for each 64 kB."""

AT_ONCE = 1 << 16
"""Bytes that are asked of the pipe at least."""

LARGEST_FRAME = 1 << 30
_LENGTHS = struct.Struct(">II")
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pipelines.sources.parsers import process; "

Part = tuple[dict[str, Any], str]
"""What is stated of a part of a file, as values of JSON, and its text."""


@dataclass(frozen=True)
class OpenFile:
    """A file of the system that is open, and the bytes of it that count."""

    descriptor: int
    size: int


Content = bytes | OpenFile
"""What is taken apart. An open file is handed over, and nothing of it copied."""


class Unparsed(Exception):
    """A file that could not be taken apart; ``str(error)`` is the sentence that says why."""


class ParserEnded(Exception):
    """The process ended before it had answered; the message names the signal or the exit code."""


class ParserProcess:
    """A process that takes files apart by ``parts`` of a module."""

    def __init__(self, module: str) -> None:
        self.served = 0
        self._closed = False
        code = f"{_START}process.serve({module!r})"
        command = [sys.executable, "-P", "-c", code, json.dumps(sys.path)]
        self._requests, theirs = socket.socketpair()  # a socket, over which an open file can be handed
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._frames = _Frames(self._output)
        with suppress(OSError, AttributeError):  # a whole page at once, where the system can
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, PIPE)

    def parts(self, content: Content, settings: Mapping[str, Any], seconds: float) -> Iterator[Part | Unparsed]:
        """What the module gives for ``content``. Raises `ParserEnded`."""
        self.served += 1
        request = {"settings": dict(settings), "seconds": seconds}
        try:
            if isinstance(content, OpenFile):
                header = json.dumps({**request, "size": content.size}).encode()
                message = _LENGTHS.pack(len(header), 0) + header
                count = socket.send_fds(self._requests, [message], [content.descriptor])
                self._requests.sendall(message[count:])
            else:
                _write(self._requests.fileno(), request, content)
        except OSError as error:
            raise self._ended() from error
        last = time.monotonic() + 10 * seconds + 60  # for a machine that is asleep: the process has its own timer
        while True:
            frame = self._frames.read(last)
            if frame is None:
                raise self._ended()
            stated, text = frame
            if "end" in stated:
                if not stated["end"]:
                    self.close()
                return
            yield (
                Unparsed(stated["fault"])
                if "fault" in stated
                else (stated["part"], str(text, "utf-8", "surrogatepass"))
            )

    @property
    def pid(self) -> int:
        number: int = self._process.pid
        return number

    @property
    def usable(self) -> bool:
        return not self._closed and self._process.poll() is None

    def close(self) -> None:
        self._closed = True
        self._process.kill()
        self._process.wait()
        self._requests.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ended(self) -> ParserEnded:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
        code = self._process.poll()
        self.close()
        if code == -signal.SIGPROF:
            return ParserEnded("time")
        if code is None:
            return ParserEnded("it did not answer")
        return ParserEnded(f"signal {-code}" if code < 0 else f"exit code {code}")


_FREE: dict[tuple[int, str], list[ParserProcess]] = {}
"""The parsers of a process that wait for a file; a process that was forked off has its own."""


def parse_apart(module: str, content: Content, settings: Mapping[str, Any]) -> Iterator[Part]:
    """The parts of ``content`` by ``parts(data, settings)`` of ``module``, in a process of its own.

    Raises `Unparsed` with the reason where there are none, or no more.
    """
    size = content.size if isinstance(content, OpenFile) else len(content)
    seconds = SECONDS + size / BYTES_A_SECOND
    free = _FREE.setdefault((os.getpid(), module), [])
    yielded = 0  # parts that are not to be yielded again by a second try
    while True:
        process = free.pop() if free else ParserProcess(module)
        fresh = process.served == 0
        answered = False
        fault: Unparsed | None = None
        try:
            for number, part in enumerate(process.parts(content, settings, seconds)):
                if isinstance(part, Unparsed):
                    fault = part  # nothing but the end of the answer comes behind it
                elif number >= yielded:
                    yielded += 1
                    yield part
            answered = True
            if fault is not None:
                raise fault
            return
        except ParserEnded as error:
            if str(error) == "time":
                raise Unparsed(
                    f"The file takes more than {seconds:.0f} s of processor time to parse; leave it out, or save"
                    " it anew with the program that made it."
                ) from error
            if fresh:
                raise Unparsed(
                    f"The parser ended on this file ({error}), so it is damaged, or needs more than"
                    f" {MEMORY >> 30} GB of memory; leave it out, or save it anew with the program that made it."
                ) from error
        finally:
            if answered and process.usable:
                free.append(process)
            else:  # it ended, or is in the midst of a file of which no more parts are asked for
                process.close()


def idle() -> list[ParserProcess]:
    """The parsers of this process that wait for a file."""
    return [process for (pid, _), free in _FREE.items() if pid == os.getpid() for process in free]


def serve(module: str) -> None:
    """Take files apart until the parent closes the pipe; runs in the process itself."""
    import importlib
    import resource

    output = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process wherever it is, as no handler of Python's could
    parts = importlib.import_module(module).parts
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    requests = socket.socket(fileno=0)
    served = 0
    while (frame := _request(requests)) is not None:
        request, data = frame
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        try:
            for stated, text in parts(data, request["settings"]):
                _write(output, {"part": stated}, text.encode("utf-8", "surrogatepass"))
        except Unparsed as error:
            _write(output, {"fault": str(error)}, b"")
        except MemoryError:
            _write(output, {"fault": f"The file needs more than {MEMORY >> 30} GB of memory; split it."}, b"")
        except RecursionError:
            _write(output, {"fault": "The file is nested too deeply; save it anew with simpler contents."}, b"")
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            _write(output, {"fault": f"The file cannot be parsed ({reason}); save it anew, or leave it out."}, b"")
        signal.setitimer(signal.ITIMER_PROF, 0)
        served += 1
        looked_at = len(data) > LARGE or served % SELDOM == 0  # at the memory that it has, which takes a system call
        _write(output, {"end": not looked_at or _resident() < RESIDENT}, b"")


def _resident() -> int:
    """Bytes of memory that this process has. Its peak is no measure: it begins at that of the parent."""
    import resource

    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux; ru_maxrss is in kB but on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _request(requests: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """The next request with the content that it is about; None where the parent has gone."""
    lengths, descriptors, _, _ = socket.recv_fds(requests, _LENGTHS.size, 1)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        lengths += _exactly(0, _LENGTHS.size - len(lengths)) or b""
    frame = _frame(0, lengths)
    if frame is None or not descriptors:
        return frame
    request, _ = frame
    try:
        return request, _from_begin(descriptors[0], request["size"])
    finally:
        os.close(descriptors[0])


def _from_begin(descriptor: int, size: int) -> bytes:
    """The first ``size`` bytes of a file, or as many as it has; its own place, which the parent has too, stays."""
    pieces = []
    place = 0
    while place < size and (piece := os.pread(descriptor, size - place, place)):
        pieces.append(piece)
        place += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _limit(kind: int, value: int) -> None:
    import resource

    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with suppress(ValueError, OSError):  # a system without this limit
        resource.setrlimit(kind, (value, value))


def _write(pipe: int, stated: Mapping[str, Any], data: bytes) -> None:
    header = json.dumps(stated).encode()
    rest = memoryview(b"".join((_LENGTHS.pack(len(header), len(data)), header, data)))
    while rest:
        rest = rest[os.write(pipe, rest) :]


class _Frames:
    """Frames from a pipe. As much is read at once as is there: of a page, all of the answer in one or two calls."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._buffer = pipe, bytearray()
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def read(self, last: float) -> tuple[dict[str, Any], bytes] | None:
        """The next frame; None where the pipe is closed, or none came until ``last``."""
        lengths = self._take(_LENGTHS.size, last)
        if lengths is None:
            return None
        header, size = _LENGTHS.unpack(lengths)
        if max(header, size) > LARGEST_FRAME:
            return None
        stated, data = self._take(header, last), self._take(size, last)
        return None if stated is None or data is None else (json.loads(stated), data)

    def _take(self, size: int, last: float) -> bytes | None:
        while len(self._buffer) < size:
            if not self._poll.poll(max(0.0, last - time.monotonic()) * 1000):
                return None
            piece = os.read(self._pipe, min(max(size - len(self._buffer), AT_ONCE), PIPE))
            if not piece:
                return None
            self._buffer += piece
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece


def _frame(pipe: int, lengths: bytes) -> tuple[dict[str, Any], bytes] | None:
    header, size = _LENGTHS.unpack(lengths)
    stated, data = _exactly(pipe, header), _exactly(pipe, size)
    return None if stated is None or data is None else (json.loads(stated), data)


def _exactly(pipe: int, size: int) -> bytes | None:
    pieces = []
    while size:
        piece = os.read(pipe, min(size, PIPE))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
