"""Texts without personal data: each span becomes its kind, such as [EMAIL], or a pseudonym, [EMAIL 3f9a0c21b7de].

A pseudonym is the beginning of an HMAC-SHA256 (RFC 2104) of the kind and of the span in one spelling, under a key that
is nowhere but in the environment. One person has one pseudonym; without the key nobody can try names.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from mnemic.errors import RecipeError
from mnemic.ids import hash_parts
from mnemic.personal import PERSONAL_KINDS
from operators.pii.finder import Finder

VERSION = 1
"""Rises where other spans are masked, or otherwise."""

SHORTEST_KEY = 16
"""Characters of a key: shorter ones can be tried."""

_DIGITS = 12
"""Hexadecimal digits of a pseudonym: among a million persons two share one in one of 500 banks."""


@dataclass(frozen=True)
class Masking:
    """Masks personal data of the ``kinds``; ``secret`` is the key of pseudonyms, b"" for none."""

    kinds: tuple[str, ...]
    countries: tuple[str, ...]
    secret: bytes = field(default=b"", repr=False)

    @property
    def identity(self) -> str:
        """Decides whether a document must be read again. Another key is another one; it does not tell the key."""
        keyed = hmac.new(self.secret, b"mnemic", hashlib.sha256).hexdigest() if self.secret else ""
        return hash_parts("masking", VERSION, *self.kinds, "|", *self.countries, "|", keyed)

    @cached_property
    def _finder(self) -> Finder:
        return Finder(self.kinds, self.countries)

    def text(self, text: str) -> str:
        """``text`` without personal data."""
        return self.texts([text])[0]

    def texts(self, texts: Sequence[str]) -> list[str]:
        """``texts`` without personal data."""
        spans, ends = self._finder.spans(pa.array(texts, pa.large_string()))
        masked, rows, first = list(texts), spans.tolist(), 0
        for place, end in enumerate(ends.tolist()):
            if first < end:
                masked[place] = self._without(texts[place], rows[first:end])
            first = end
        return masked

    def _without(self, text: str, spans: Sequence[Sequence[int]]) -> str:
        parts, at = [], 0
        for begin, end, kind in spans:
            parts += [text[at:begin], self._token(PERSONAL_KINDS[kind], text[begin:end])]
            at = end
        return "".join([*parts, text[at:]])

    def value(self, value: Any) -> Any:
        """A value of metadata without personal data: texts, whole numbers, and lists and mappings of such."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            masked = self.text(str(value))
            return value if masked == str(value) else masked
        if isinstance(value, Mapping):
            return {self.value(name): self.value(one) for name, one in value.items()}
        if isinstance(value, list | tuple | set):
            return type(value)(self.value(one) for one in value)
        return value

    def _token(self, kind: str, span: str) -> str:
        if not self.secret:
            return f"[{kind.upper()}]"
        message = f"{kind}\0{spelled(kind, span)}".encode()
        return f"[{kind.upper()} {hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:_DIGITS]}]"


def spelled(kind: str, span: str) -> str:
    """``span`` in the one spelling that stands for all: without separators, in small letters, as the case may be."""
    if kind == "email":
        return span.lower()
    if kind == "ip":
        return ipaddress.ip_address(span).compressed
    if kind == "phone":
        span = span.replace("(0)", "", 1) if span.startswith("+") else span
        digits = "".join(character for character in span if character in "0123456789")
        return f"+{digits[2:]}" if digits.startswith("00") else f"+{digits}" if span.startswith("+") else digits
    if kind in ("card", "iban"):
        return "".join(character for character in span if character.isascii() and character.isalnum())
    return span


def secret_of(variable: str) -> bytes:
    """The key in the environment variable ``variable``; b"" for no variable. No sentence quotes the key."""
    if not variable:
        return b""
    secret = os.environ.get(variable, "")
    if len(secret) < SHORTEST_KEY:
        state = "not set" if not secret else f"shorter than {SHORTEST_KEY} characters"
        raise RecipeError(
            f"Pseudonyms need a key, and the environment variable {variable} is {state}; set it, for example to what "
            "`openssl rand -hex 32` prints, or leave `key` out of `pii`."
        )
    return secret.encode()
