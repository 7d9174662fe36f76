"""Errors that a caller sees: a status and a sentence. Neither paths nor addresses of the server stand in one."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mnemic.errors import BankError, BankInUse, InboxFull, MnemicError, ModelError, QueryError, Unreachable
from mnemic.terminal import one_line

_LONGEST = 600
_ADDRESS = re.compile(r"\b(?!https?:)[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"`,;()]+")
_PATH = re.compile(r"(?<![\w<&./])(?:~|[A-Za-z]:)?(?:/[^\s/:'\"`,;()<>]+){2,}/?")
_STATUS: tuple[tuple[type[MnemicError], int], ...] = (
    (QueryError, 400),
    (BankInUse, 503),
    (InboxFull, 429),
    (BankError, 404),
    (ModelError, 409),
    (Unreachable, 503),
)
_RETRY = {429: 60, 503: 2}
"""Seconds after which an error may have passed, by its status."""
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class Refused(MnemicError):
    """A request that is refused: ``status`` of HTTP, a sentence, and after how many seconds to try again, if ever."""

    def __init__(self, status: int, sentence: str, retry: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.retry = status, retry


@dataclass(frozen=True)
class Refusal:
    """What a caller is answered: ``status`` of HTTP, ``sentence``, and ``retry`` in seconds."""

    status: int
    sentence: str
    retry: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """As JSON: the form of OpenAI's errors."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.sentence, "type": kind, "param": None, "code": None}}


def refusal_of(error: BaseException, roots: Iterable[str] = ()) -> Refusal:
    """What a caller is told of ``error``; ``roots`` are paths of the bank, which stand for it in sentences.

    An error that is no sentence is named in the log under a number, which the caller gets.
    """
    if isinstance(error, Refused):
        return Refusal(error.status, without_paths(str(error), roots), error.retry)
    if isinstance(error, MnemicError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
        return Refusal(status, without_paths(str(error), roots), _RETRY.get(status))
    number = secrets.token_hex(4)
    log(f"error {number}: {type(error).__name__}: {error}")
    return Refusal(500, f"The server could not answer this. Its log has the reason under {number}.")


def without_paths(sentence: str, roots: Iterable[str] = ()) -> str:
    """``sentence`` on one line, with "the bank" for its path, and nothing for other paths and addresses."""
    for root in sorted(filter(None, roots), key=len, reverse=True):
        sentence = sentence.replace(root, "the bank")
    sentence = _PATH.sub("(a path)", _ADDRESS.sub("(an address)", sentence))
    return one_line(sentence, _LONGEST)


def log(line: str) -> None:
    """A line of the server's log, which is standard error."""
    print(f"mnemic serve: {one_line(line, 2000)}", file=sys.stderr, flush=True)
