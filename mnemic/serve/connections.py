"""Connections of clients that send or read too slowly, or are too many: they are ended.

uvicorn ends connections that are idle between two requests. It waits without limit for the head of a request, and for a
client that does not read its answer.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""For the head of a request, from the connection or the answer before on."""
READ_SECONDS = 20.0
"""For a client to take what has been written to it, once the buffers are full."""
MOST_CONNECTIONS = 256
HEAD_BYTES = 32 << 10


class TimedConnection(H11Protocol):  # type: ignore[misc]
    """HTTP 1.1 of uvicorn, with limits of time and of number."""

    head_seconds: ClassVar[float] = HEAD_SECONDS
    read_seconds: ClassVar[float] = READ_SECONDS
    most: ClassVar[int] = MOST_CONNECTIONS

    _head: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _wait_for_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
        self._head = self.loop.call_later(self.head_seconds, self._late)

    def _late(self) -> None:
        """No request is under way: its head did not come, or the last bytes of an answer are not taken."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
