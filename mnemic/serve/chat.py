"""Chat completions as OpenAI has them: requests, answers, and streams of server-sent events."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import Field

from mnemic.bank import Bank
from mnemic.serve.access import Access
from mnemic.serve.arguments import LONGEST_TEXT, CallArguments
from mnemic.serve.current import CurrentBank
from mnemic.serve.refusals import Refused, refusal_of
from mnemic.serve.speaker import Speaker, Speech, Wording, memories_of

WAITING = 8
"""Requests for answers that are given or wait; one is given at a time."""
_END = None


class MessagePart(CallArguments):
    type: Literal["text"]
    text: Annotated[str, Field(max_length=LONGEST_TEXT)]


class ChatMessage(CallArguments):
    role: Literal["system", "developer", "user", "assistant"]
    content: (
        Annotated[str, Field(max_length=LONGEST_TEXT)]
        | Annotated[list[MessagePart], Field(min_length=1, max_length=100)]
    )
    name: Annotated[str, Field(max_length=200)] | None = None

    @property
    def plain(self) -> tuple[str, str]:
        """(role, text); "developer" is OpenAI's newer word for "system"."""
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return "system" if self.role == "developer" else self.role, text


class StreamOptions(CallArguments):
    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(CallArguments):
    """Fields of OpenAI's that would change the answer, and are not here, are refused."""

    model: Annotated[str, Field(min_length=1, max_length=300)] = Field(description="one that /v1/models lists")
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=200)]
    max_tokens: int | None = Field(None, ge=1, le=2048, description="tokens of the answer, 256 by default")
    max_completion_tokens: int | None = Field(None, ge=1, le=2048, description="the same, by its newer name")
    temperature: float | None = Field(None, ge=0, le=2, description="0: always the likeliest token; 1 by default")
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: (
        Annotated[str, Field(max_length=200)]
        | Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=4)]
        | None
    ) = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    user: Annotated[str, Field(max_length=500)] | None = Field(None, description="has no effect")

    @property
    def wording(self) -> Wording:
        stop = () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return Wording(
            self.max_completion_tokens or self.max_tokens or 256,
            1.0 if self.temperature is None else self.temperature,
            1.0 if self.top_p is None else self.top_p,
            self.seed,
            stop,
        )


class Chats:
    """Answers chats with the newest release of ``current``, one after the other."""

    def __init__(self, current: CurrentBank) -> None:
        self.current = current
        self._speaker = Speaker()
        self._thread = ThreadPoolExecutor(1, "mnemic-chat")
        self._waiting: set[ChatAnswer] = set()

    def close(self) -> None:
        """End all answers."""
        for answer in self._waiting:
            answer.speech.stopped.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def start(self, request: ChatRequest, access: Access) -> ChatAnswer:
        """The answer, which waits for its turn. Raises `MnemicError` for what cannot be asked for."""
        bank = self.current.bank
        memories = await asyncio.to_thread(memories_of, bank, access, request.model)
        if len(self._waiting) >= WAITING:
            raise Refused(503, "As many answers as the server gives one after the other are waited for; try later.", 5)
        answer = ChatAnswer(request, bank, memories)
        self._waiting.add(answer)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, answer.run, self._speaker, access)
        future.add_done_callback(lambda _: self._over(answer))
        return answer

    def _over(self, answer: ChatAnswer) -> None:
        self._waiting.discard(answer)
        answer.put(_END)


class ChatAnswer:
    """One answer that is being given."""

    def __init__(self, request: ChatRequest, bank: Bank, memories: Sequence[str]) -> None:
        self.request, self.bank, self.memories = request, bank, memories
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self.speech = Speech(self._tell)

    def run(self, speaker: Speaker, access: Access) -> None:
        """Give the answer, in the thread of answers."""
        if self.speech.stopped.is_set():
            return
        messages = [message.plain for message in self.request.messages]
        try:
            speaker.speak(
                self.bank, access, self.memories, messages, self.request.wording, self.speech, lambda: self._tell("")
            )
        except Exception as error:
            self._tell(error)

    def put(self, piece: str | Exception | None) -> None:
        """A piece of the answer; an error, or None, ends it."""
        if not self._begun.done():
            if isinstance(piece, Exception):
                self._begun.set_exception(piece)
            else:
                self._begun.set_result(None)
        self._pieces.put_nowait(piece)

    def _tell(self, piece: str | Exception) -> None:
        with suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self.put, piece)

    async def begun(self) -> None:
        """Return once the answer has begun. Raises what refuses it."""
        await self._begun

    async def pieces(self) -> AsyncIterator[str]:
        """The answer as it comes. Raises what ends it before its end. Whoever stops listening stops it."""
        try:
            while True:
                piece = await self._pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                if piece is _END:
                    return
                if piece:
                    yield piece
        finally:
            self.speech.stopped.set()

    async def whole(self) -> dict[str, Any]:
        """The answer as one object."""
        text = "".join([piece async for piece in self.pieces()])
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": self.speech.reason,
        }
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    async def events(self, roots: Sequence[str]) -> AsyncIterator[bytes]:
        """The answer as server-sent events; an error after the first is one of them."""
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async for piece in self.pieces():
                yield self._chunk({"content": piece})
            yield self._chunk({}, self.speech.reason)
            if self.request.stream_options is not None and self.request.stream_options.include_usage:
                yield _event({**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()})
            yield b"data: [DONE]\n\n"
        except Exception as error:
            yield _event(refusal_of(error, roots).body)
        finally:
            self.speech.stopped.set()

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**self._head("chat.completion.chunk"), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        own = {"release": self.bank.release.name, "memories": list(self.memories)}
        return {"id": self.id, "object": kind, "created": self.created, "model": self.request.model, "mnemic": own}

    def _usage(self) -> dict[str, int]:
        prompt, answer = self.speech.prompt_tokens, self.speech.tokens
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()
