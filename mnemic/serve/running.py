"""The servers of a bank: HTTP on this machine alone, and the Model Context Protocol on standard input and output."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import anyio
import uvicorn
from mcp.server.stdio import stdio_server

from mnemic.bank import Bank
from mnemic.errors import MnemicError, RecipeError
from mnemic.serve.access import Access
from mnemic.serve.actions import Actions, ActionState
from mnemic.serve.callers import Callers
from mnemic.serve.connections import HEAD_BYTES, TimedConnection
from mnemic.serve.current import CurrentBank
from mnemic.serve.refusals import log
from mnemic.serve.tools import tool_server
from mnemic.serve.web import application

HOST = "127.0.0.1"
GRACE = 5
"""Seconds that requests under way have when the server is ended."""
LONGEST_LINE = 4 << 20
"""Characters of a message on standard input."""


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine alone; ``port`` 0 takes a free one. Raises `RecipeError` for one in use.

    It names TCP as its protocol: asyncio sends at once only over sockets that do, and over others the body of an answer
    waits 40 ms for the client to acknowledge its head.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise RecipeError(f"Port {port} of {HOST} is not free ({error.strerror}); give another with --port.") from error
    listening.listen(128)
    return listening


class HttpServer:
    """The HTTP server of ``current`` on the socket ``listening``. `run` returns when it is ended."""

    def __init__(self, current: CurrentBank, callers: Callers, listening: socket.socket) -> None:
        self.current, self.listening = current, listening
        self.port = int(listening.getsockname()[1])
        hosts = [f"{name}:{self.port}" for name in (HOST, "localhost")]
        config = uvicorn.Config(
            application(current, callers, [*hosts, *((HOST, "localhost") if self.port == 80 else ())]),
            http=TimedConnection,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_graceful_shutdown=GRACE,
        )
        self.server = uvicorn.Server(config)
        _quiet()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def run(self) -> None:
        """Serve until the process is told to end, or `end`."""
        warming = threading.Thread(target=_warm, args=(self.current,), name="mnemic-warm", daemon=True)
        warming.start()
        self.current.follow()
        try:
            self.server.run(sockets=[self.listening])
        finally:
            self.current.stop()
            self.listening.close()

    def end(self) -> None:
        """Let `run` return, from another thread."""
        self.server.should_exit = True


def serve_stdio(current: CurrentBank, access: Access) -> None:
    """Serve the tools on standard input and output until the input ends."""
    actions = Actions(current, ActionState())
    _quiet()

    async def serve() -> None:
        server = tool_server(actions, lambda _: access)
        async with _streams() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    current.follow()
    try:
        current.warm()
        anyio.run(serve)
    finally:
        current.stop()


@asynccontextmanager
async def _streams() -> AsyncIterator[Any]:
    """The SDK's streams over standard input and output, which only they use; no line is longer than `LONGEST_LINE`."""
    import os
    import sys

    wire_in, wire_out = os.dup(0), os.dup(1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # what a library prints goes to standard error
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    reading, writing = os.fdopen(wire_in, "rb"), os.fdopen(wire_out, "w", encoding="utf-8")
    async with stdio_server(anyio.wrap_file(_Lines(reading)), anyio.wrap_file(writing)) as streams:  # type: ignore[arg-type]
        yield streams


class _Lines:
    """Lines of a stream as text. One that is too long is dropped to its end, and answered as what it is: no JSON."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def readline(self) -> str:
        line = self.stream.readline(LONGEST_LINE)
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            return line.decode("utf-8", "replace")
        while line and not line.endswith(b"\n"):
            line = self.stream.readline(LONGEST_LINE)
        log("a message on standard input is too long, and is left out")
        return "\n"


def _quiet() -> None:
    """Let the libraries write no log: faults of clients are none of it, and ours are written by `refusal_of`."""
    for name in ("uvicorn", "mcp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _warm(current: CurrentBank) -> None:
    try:
        current.warm()
    except MnemicError as error:
        log(str(error))


def bound(bank: Bank, tenant: str | None) -> Access:
    """The one caller of a server without tokens. Raises `BankError` where it is not clear whose memory it may see."""
    from mnemic.serve.allowed import only_tenant

    return Access(only_tenant(bank, tenant))
