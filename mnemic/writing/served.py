"""A language model behind a server that speaks OpenAI's chat completions (llama.cpp, vLLM, Ollama, or a paid one).

`http.client` alone: it follows no redirect, and each request has a connection, a deadline and a largest answer of its
own. 429, 5xx and broken connections are tried again, up to eight times, after the server's `Retry-After` or a pause
that doubles; they cost nothing and are no attempts at an answer. A server that does not take JSON schemas is asked for
a JSON object, then for plain text; the first form that it takes is used from then on.

The key is read from the environment when the model is opened. It stands in no sentence, no row and no identity.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from mnemic.errors import ModelError, RecipeError, Unreachable
from mnemic.terminal import one_line
from mnemic.writing.contracts import Ended, Reply, WritingRequest
from mnemic.writing.pace import Pace

TRIES = 8
LARGEST = 8 << 20
"""Bytes of a response that are read."""

LONGEST_WAIT = 60.0
FORMS = ("json_schema", "json_object", "plain")
_PASSING = (408, 425, 429, *range(500, 600))
_BACK_OFF = 0.5


class Broken(Exception):
    """A connection that broke, or a status that may pass; ``wait`` are the seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class ServedModel:
    """The model ``name`` of the server at ``address`` (http or https, with the path before `/chat/completions`).

    ``revision`` is part of the identity and sent nowhere. ``key_variable`` names the environment variable with the key,
    "" for none. ``timeout`` are the seconds that a request may take as a whole. ``form`` is one of `FORMS`, or "auto".
    """

    def __init__(
        self,
        address: str,
        name: str,
        revision: str = "",
        key_variable: str = "",
        concurrent: int = 4,
        timeout: float = 300.0,
        form: str = "auto",
        pace: Pace | None = None,
        seed: int | None = None,
    ) -> None:
        self._place = _checked(address)
        self.identity = f"{name}@{revision}" if revision else name
        self.concurrent = concurrent
        self._name, self._timeout, self._pace = name, timeout, pace or Pace(0, 0)
        self._key = _key(key_variable)
        self._forms = list(FORMS) if form == "auto" else [form]
        self._closed = threading.Event()
        self._random = random.Random(seed)

    def close(self) -> None:
        self._closed.set()

    def ask(self, request: WritingRequest) -> Reply:
        wait, reason = _BACK_OFF, ""
        for tries_left in range(TRIES - 1, -1, -1):
            self._keep_pace(request)
            try:
                return self._reply(request)
            except Broken as error:
                reason = str(error)
                pause = wait * (1 + self._random.random()) if error.wait is None else error.wait
                wait *= 2
                if tries_left and self._closed.wait(min(pause, LONGEST_WAIT)):
                    break
        raise Unreachable(
            f"The language model at {self._shown} does not answer ({reason}). Start the server, or wait until its "
            "limits allow more; the same build then carries on, and asks nothing twice."
        )

    @property
    def _shown(self) -> str:
        return f"{self._place.scheme}://{self._place.netloc}{self._place.path}"

    def _keep_pace(self, request: WritingRequest) -> None:
        while delay := self._pace.delay(request.token_bound):
            if self._closed.wait(min(delay, 1.0)):
                raise Unreachable("The build was stopped. The same build carries on, and asks nothing twice.")

    def _reply(self, request: WritingRequest) -> Reply:
        """The reply in the first form that the server takes."""
        while True:
            form, started = self._forms[0], time.monotonic()
            status, headers, body = self._exchange(self._body(request, form))
            seconds = time.monotonic() - started
            if status == 200:
                return _read(body, request, seconds)
            reason = f"status {status}{self._told(body)}"
            if status in _PASSING:
                raise Broken(reason, _retry_after(headers))
            if status in (400, 422) and form == self._forms[0] and len(self._forms) > 1:
                self._forms = self._forms[1:]
                continue
            if status in (400, 422) and form != self._forms[0]:
                continue  # another request has learnt the form meanwhile
            advice = "Check `key_variable` and the key in it" if status in (401, 403) else "Check `server` and `name`"
            raise ModelError(f"The language model at {self._shown} refuses ({reason}). {advice}.")

    def _body(self, request: WritingRequest, form: str) -> bytes:
        message: dict[str, Any] = {
            "model": self._name,
            "messages": [
                {"role": "system", "content": request.system},
                {"role": "user", "content": request.content},
            ],
            "temperature": 0,
            "max_tokens": request.max_tokens,
        }
        if form == "json_schema":
            schema = {"name": "answer", "strict": True, "schema": request.schema}
            message["response_format"] = {"type": form, "json_schema": schema}
        elif form == "json_object":
            message["response_format"] = {"type": form}
        if form != "json_schema":
            message["messages"][0]["content"] += f"\nAnswer with JSON of this schema: {json.dumps(request.schema)}"
        return json.dumps(message).encode()

    def _exchange(self, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes | None]:
        """(status, headers, the body or None where it is too large). Raises ``Broken``."""
        if self._closed.is_set():
            raise Broken("the build was stopped")
        secure = self._place.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._place.hostname or "", self._place.port, timeout=self._timeout)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        started = time.monotonic()
        try:
            connection.connect()
            with _cut_at(started + self._timeout, connection.sock):
                connection.request("POST", f"{self._place.path.rstrip('/')}/chat/completions", body, headers)
                response = connection.getresponse()
                data = response.read(LARGEST + 1)
            if response.length and len(data) <= LARGEST:
                raise Broken(self._late(started) or "the answer breaks off")
            return response.status, response.headers, data if len(data) <= LARGEST else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = self._late(started) or type(error).__name__
            raise Broken(reason) from None  # a traceback would show the headers, and in them the key
        finally:
            connection.close()

    def _late(self, started: float) -> str:
        """That a request since ``started`` has taken its time, as a phrase; "" where it has not."""
        late = time.monotonic() - started >= self._timeout
        return f"no answer in {self._timeout:g} s" if late else ""

    def _told(self, body: bytes | None) -> str:
        """The server's own words about an error, on one line and without the key."""
        words = one_line((body or b"")[:2000].decode("utf-8", "replace"), 200)
        if self._key:
            words = words.replace(self._key, "(hidden)")
        return f": {words}" if words else ""


@contextlib.contextmanager
def _cut_at(moment: float, sock: socket.socket) -> Iterator[None]:
    """At the monotonic time ``moment`` end what the block still does: whoever waits for ``sock`` gets an error.

    A connection lets go of its socket where the head of a response is read, and the body is yet to come.
    """
    deadline = threading.Timer(moment - time.monotonic(), _cut, [sock])
    deadline.daemon = True
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _checked(address: str) -> Any:
    """The parts of an address. Raises ``RecipeError``, which does not quote it where it may hold a password."""
    parts = urlsplit(address)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RecipeError(
            "`server` holds more than an address. Write http://host:port/v1, and name the environment variable with "
            "the key in `key_variable`."
        )
    if not usable or re.search(r"[\s\x00-\x1f]", address):
        raise RecipeError("`server` is no address of a language model; write http://host:port/v1 or https://host/v1.")
    return parts


def _key(variable: str) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RecipeError(
            f"`key_variable` names the environment variable {variable}, which is not set. Set it to the key of the "
            "server, or leave `key_variable` out."
        )
    if not key.isascii() or not key.isprintable():
        raise RecipeError(f"The environment variable {variable} holds no key: a key has plain characters alone.")
    return key


def _retry_after(headers: http.client.HTTPMessage) -> float | None:
    """Seconds that the server asks to wait; None where it names none, or a date."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e6 else None


_ENDED: dict[Any, Ended] = {"stop": "stop", "length": "length", "content_filter": "refused"}


def _read(body: bytes | None, request: WritingRequest, seconds: float) -> Reply:
    """The reply in a response of status 200; one that is none is paid too, and has the upper bounds as its tokens."""
    unknown = (request.prompt_bound, request.max_tokens, seconds, False)
    if body is None:
        return Reply("", "oversized", *unknown)
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        ended: Ended = _ENDED.get(choice.get("finish_reason"), "stop")
        if text is None and choice["message"].get("refusal"):
            text, ended = "", "refused"
        if not isinstance(text, str):
            raise TypeError("no text")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Reply("", "malformed", *unknown)
    usage = answer.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    if all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 1 << 31 for count in counts):
        prompt_tokens, completion_tokens = counts
        return Reply(text, ended, prompt_tokens or 0, completion_tokens or 0, seconds)
    return Reply(text, ended, *unknown)
