"""The routes of the HTTP server: actions, models and chats, tools, and the page that describes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from mnemic.serve.access import Access
from mnemic.serve.actions import ACTIONS, Actions, ActionState
from mnemic.serve.arguments import parsed, read
from mnemic.serve.callers import Callers
from mnemic.serve.chat import ChatAnswer, ChatRequest, Chats
from mnemic.serve.current import CurrentBank
from mnemic.serve.guard import BODY_BYTES, CALLER, RequestGuard, replayed
from mnemic.serve.openapi import CONTENT_POLICY, document, page
from mnemic.serve.refusals import Refused
from mnemic.serve.speaker import models_of
from mnemic.serve.tools import tool_server

OPEN = ("/", "/docs", "/openapi.json", "/health")
"""Paths that tell nothing of a bank."""


def application(current: CurrentBank, callers: Callers, hosts: Collection[str]) -> RequestGuard:
    """The whole HTTP server of a bank. ``hosts`` are the names, with ports, under which it may be asked."""
    routes = _Routes(current)
    router = Router(routes.all(), redirect_slashes=False, lifespan=routes.lifespan)
    return RequestGuard(router, callers.access, hosts, OPEN, current.roots)


class _Routes:
    def __init__(self, current: CurrentBank) -> None:
        self.current = current
        self.actions, self.chats = Actions(current, ActionState()), Chats(current)
        server = tool_server(self.actions, lambda request: request.scope[CALLER])
        self.tools = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=BODY_BYTES
        )

    def all(self) -> list[Route]:
        return [
            *(Route(f"/v1/{name}", self.action, methods=["POST"], name=name) for name in ACTIONS),
            Route("/v1/bank", self.bank, methods=["GET"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{model}", self.model, methods=["GET"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/mcp", _Tools(self.tools), methods=["POST"]),
            Route("/openapi.json", lambda _: JSONResponse(document()), methods=["GET"]),
            Route("/docs", _page, methods=["GET"]),
            Route("/", _page, methods=["GET"]),
            Route("/health", lambda _: JSONResponse({"status": "ok"}), methods=["GET"]),
        ]

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        async with self.tools.run():
            try:
                yield
            finally:
                self.chats.close()

    async def action(self, request: Request) -> Response:
        values = parsed(await _body(request))
        name = request.scope["path"].removeprefix("/v1/")
        answer = await self.actions.answer(name, _caller(request), values)
        return JSONResponse({**answer.data, "text": answer.text})

    async def bank(self, request: Request) -> Response:
        release = self.current.bank.release
        return JSONResponse(
            {"release": release.name, "created": release.created.isoformat(), "tenant": _caller(request).tenant}
        )

    async def models(self, request: Request) -> Response:
        names = await self._names(request)
        return JSONResponse({"object": "list", "data": [self._model(name) for name in names]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name not in await self._names(request):
            raise Refused(404, "There is no such model; /v1/models lists those that there are.")
        return JSONResponse(self._model(name))

    async def chat(self, request: Request) -> Response:
        chat_request = read(ChatRequest, parsed(await _body(request)))
        answer = await self.chats.start(chat_request, _caller(request))
        leaving = asyncio.create_task(_stop_for(request, answer))
        try:
            await answer.begun()
            if not chat_request.stream:
                return JSONResponse(await answer.whole())
        except BaseException:
            answer.speech.stopped.set()
            raise
        finally:
            leaving.cancel()
        return StreamingResponse(answer.events(self.current.roots), media_type="text/event-stream")

    async def _names(self, request: Request) -> list[str]:
        return await asyncio.to_thread(models_of, self.current.bank, _caller(request))

    def _model(self, name: str) -> dict[str, Any]:
        created = int(self.current.bank.release.created.timestamp())
        return {"id": name, "object": "model", "created": created, "owned_by": "mnemic"}


class _Tools:
    """The endpoint of the Model Context Protocol: each request is answered for itself, without a session."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self.manager = manager

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _body(Request(scope, receive))
        if not _is_call(parsed(body)):
            raise Refused(400, "The body is no request of JSON-RPC 2.0; send one object with jsonrpc, id and method.")
        await self.manager.handle_request(scope, replayed(body, receive), send)


def _is_call(message: Any) -> bool:
    """Whether it is a request or a notification of JSON-RPC; the SDK says of others more than a sentence."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
        return False
    number = message.get("id", 0)
    return (
        isinstance(number, int | str) and not isinstance(number, bool) and isinstance(message.get("params", {}), dict)
    )


def _caller(request: Request) -> Access:
    access: Access = request.scope[CALLER]
    return access


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "The body of a request is JSON; send it with the header `Content-Type: application/json`.")
    return bytes(await request.body())


async def _stop_for(request: Request, answer: ChatAnswer) -> None:
    """Stop an answer whose client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    answer.speech.stopped.set()


async def _page(_: Request) -> Response:
    return HTMLResponse(page(), headers={"content-security-policy": CONTENT_POLICY})
