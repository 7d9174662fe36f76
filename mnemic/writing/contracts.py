"""A request to a language model, its reply, and the protocol that a served and a local model share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Ended = Literal["stop", "length", "refused", "oversized", "malformed"]
"""Why a reply ends: the model was done, ran out of tokens or would not answer; the reply is too large, or is none."""


@dataclass(frozen=True)
class WritingRequest:
    """``system`` is constant text, ``content`` the material as JSON, ``schema`` a JSON schema of the answer.

    ``max_tokens`` bounds the answer. The answer is greedy: a temperature of 0.
    """

    system: str
    content: str
    schema: Mapping[str, Any]
    max_tokens: int

    @property
    def prompt_bound(self) -> int:
        """Tokens that the prompt has at most: a token holds a byte at least, and a template adds a few."""
        return len(self.system.encode()) + len(self.content.encode("utf-8", "replace")) + TEMPLATE_TOKENS

    @property
    def token_bound(self) -> int:
        """Tokens of prompt and answer together, at most."""
        return self.prompt_bound + self.max_tokens


TEMPLATE_TOKENS = 64
"""Tokens that a chat template puts around two messages, at most."""


@dataclass(frozen=True)
class Reply:
    """``text`` is the answer. ``counted`` says that the model counted the tokens; else they are upper bounds."""

    text: str
    ended: Ended
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    counted: bool = True


class WritingModel(Protocol):
    """``identity`` names the model and its version; ``concurrent`` is the number of requests that it takes at once."""

    identity: str
    concurrent: int

    def ask(self, request: WritingRequest) -> Reply:
        """The reply to a request; called from ``concurrent`` threads.

        Raises ``Unreachable`` where the model does not answer, ``ModelError`` where it refuses every request.
        """

    def close(self) -> None:
        """End the requests under way."""
