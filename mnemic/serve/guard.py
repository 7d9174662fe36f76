"""What every request passes before a route sees it: host, origin, token, size, time, and how many there are.

A page in a browser can send requests to 127.0.0.1, also under a name of its own that it lets point there (DNS
rebinding). Its requests carry that name as their host, or the page's origin: both must be this server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from mnemic.serve.access import Access
from mnemic.serve.refusals import Refusal, Refused, refusal_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CALLER = "mnemic.access"
"""Key of the `Access` of a request in its scope."""

BODY_BYTES = 1 << 20
BODY_SECONDS = 15.0
AT_ONCE = 64
"""Requests that are under way or wait, of all callers together."""

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]


class RequestGuard:
    """Lets a request through to ``application``, or answers with a sentence.

    ``access`` gives the `Access` of a token, or None. ``hosts`` are the names and ports of this server. Paths in
    ``open_to_all`` need no token, and tell nothing of a bank. ``roots`` stand in no answer.
    """

    def __init__(
        self,
        application: Application,
        access: Callable[[str], Access | None],
        hosts: Collection[str],
        open_to_all: Collection[str] = (),
        roots: Iterable[str] = (),
        *,
        body_bytes: int = BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
        at_once: int = AT_ONCE,
    ) -> None:
        self.application, self.access = application, access
        self.hosts, self.open_to_all, self.roots = frozenset(hosts), frozenset(open_to_all), tuple(roots)
        self.body_bytes, self.body_seconds, self.at_once = body_bytes, body_seconds, at_once
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        try:
            self._check_place(scope)
            if scope["path"] not in self.open_to_all:
                scope[CALLER] = self._caller(scope)
            if self._running >= self.at_once:
                raise Refused(503, "The server has as many requests as it answers at once; try again in a moment.", 1)
            self._running += 1
            try:
                body = await self._body(scope, receive)
                scope["app"] = self.application  # then a route raises what it refuses
                await self.application(scope, replayed(body, receive), sending)
            finally:
                self._running -= 1
        except _Gone:
            return
        except Exception as error:
            if isinstance(error, HTTPException):
                error = _of_route(error)
            refusal = refusal_of(error, self.roots)
            if begun:
                raise ConnectionAbortedError(refusal.sentence) from None
            await _answer(refusal)(scope, receive, sending)

    def _check_place(self, scope: Scope) -> None:
        host, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(host) != 1 or host[0].lower() not in self.hosts:
            raise Refused(421, "The Host of the request is not this server; ask it as http://127.0.0.1 and its port.")
        own = {f"http://{name}" for name in self.hosts}
        if any(origin.lower() not in own for origin in origins):
            raise Refused(403, "Pages of other origins may not ask this server; call it from a program.")

    def _caller(self, scope: Scope) -> Access:
        values = _values(scope, b"authorization")
        word, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        access = self.access(token.strip()) if word.lower() == "bearer" else None
        if access is None:
            raise Refused(
                401, "A token is needed, as the header `Authorization: Bearer TOKEN`; this was none, or another."
            )
        return access

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises `Refused` where it is too large, or takes too long."""
        length = (_values(scope, b"content-length") or ["0"])[0]
        too_large = Refused(413, f"The body of a request has at most {self.body_bytes:,} bytes; send less at once.")
        if length.isdigit() and int(length[:20]) > self.body_bytes:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    size += len(message.get("body", b""))
                    if size > self.body_bytes:
                        raise too_large
                    parts.append(message.get("body", b""))
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refused(
                408, f"The body of the request took longer than {self.body_seconds:g} seconds; send it at once."
            ) from None


def _of_route(error: HTTPException) -> Refused:
    """What the router refuses by itself: no such path, another method."""
    if error.status_code == 405:
        return Refused(405, "This path is asked in another way; /docs says how.")
    return Refused(404, "There is nothing under this path; /docs lists the paths that there are.")


class _Gone(Exception):
    """The client has left before its request was whole."""


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body as one message, and then what comes after it."""
    waiting = [body]

    async def next_message() -> Message:
        return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else await receive()

    return next_message


def _answer(refusal: Refusal) -> Any:
    headers: dict[str, str] = {} if refusal.retry is None else {"retry-after": str(refusal.retry)}
    if refusal.status == 401:
        headers["www-authenticate"] = 'Bearer realm="mnemic"'
    if refusal.status == 408:
        headers["connection"] = "close"
    return JSONResponse(refusal.body, refusal.status, headers)


def _values(scope: Mapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key.lower() == name]
