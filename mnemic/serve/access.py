"""Tokens of callers, each bound to one tenant.

A file of tokens has a token and its tenant a line; it belongs to who runs the server, and nobody else may read it. One
token alone may stand in the environment variable `MNEMIC_TOKEN`. Tokens are compared as hashes, in constant time, with
every one that there is: how long it takes says nothing about them.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mnemic.errors import RecipeError
from mnemic.terminal import one_line

VARIABLE = "MNEMIC_TOKEN"
SHORTEST = 22
"""Characters of a token: 128 bits in base64."""

_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},512}}")
_LARGEST = 1 << 20
_MOST = 10_000


@dataclass(frozen=True)
class Access:
    """What a caller may see: the rows of ``tenant``, "" for rows without one."""

    tenant: str


class AccessError(RecipeError):
    """Tokens that cannot be used. Exit code 2."""


@dataclass(frozen=True)
class TokenTable:
    """Hashes of tokens, and the tenant of each; None for the one tenant that the bank has."""

    tenants: Mapping[bytes, str | None]

    def __len__(self) -> int:
        return len(self.tenants)

    def find(self, token: str) -> tuple[str | None] | None:
        """(tenant,) of a token; None for one that is not there."""
        digest, match = _digest(token), None
        for stored, tenant in self.tenants.items():
            if hmac.compare_digest(stored, digest):
                match = (tenant,)
        return match

    @classmethod
    def of_token(cls, token: str, tenant: str | None) -> TokenTable:
        """One token. Raises `AccessError` for one that can be guessed."""
        if not _TOKEN.fullmatch(token):
            raise AccessError(f"The token of {VARIABLE} {_FAULT} `{_NEW}` makes one.")
        return cls({_digest(token): tenant})

    @classmethod
    def read(cls, path: str | Path) -> TokenTable:
        """The tokens of a file. Raises `AccessError` where others may read or write it, or a line is none."""
        place = Path(path)
        tenants: dict[bytes, str | None] = {}
        for number, line in enumerate(_text_of(place).splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            token, _, tenant = line.strip().partition(" ")
            if not _TOKEN.fullmatch(token):
                raise AccessError(f"The token in line {number} of {place} {_FAULT} `{_NEW}` makes one.")
            digest = _digest(token)
            if digest in tenants:
                raise AccessError(f"The token in line {number} of {place} stands there twice; keep one of the lines.")
            tenants[digest] = _tenant(tenant.strip(), f"line {number} of {place}")
        if not tenants:
            raise AccessError(
                f"{place} has no token; `mnemic serve BANK --tokens {place} --new-token TENANT` writes one."
            )
        if len(tenants) > _MOST:
            raise AccessError(f"{place} has {len(tenants):,} tokens, and {_MOST:,} are read; leave some out.")
        return cls(tenants)


_FAULT = f"can be guessed: it needs {SHORTEST} characters or more, letters, digits and . _ ~ + / = -."
_NEW = "mnemic serve BANK --tokens FILE --new-token TENANT"


def add_token(path: str | Path, tenant: str) -> None:
    """Append a fresh token for ``tenant`` to the file ``path``, which is made for its owner alone where there is none.

    Raises `AccessError` for a file that others may read.
    """
    place = Path(path)
    if "\n" in tenant or "\r" in tenant:
        raise AccessError("A tenant's name with a line break cannot stand in a file of tokens; use --tenant.")
    plain = tenant.strip() == tenant != "" and not tenant.startswith('"')
    line = f"{secrets.token_urlsafe(32)} {tenant if plain else json.dumps(tenant)}\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        descriptor = os.open(place, flags, 0o600)
    except OSError as error:
        raise AccessError(f"{place} cannot be written ({error.strerror}); give another file.") from error
    try:
        _check(os.fstat(descriptor), place)
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def _text_of(place: Path) -> str:
    """The text of a file of tokens, once its owner and its mode are right."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise AccessError(f"{place} cannot be read ({error.strerror}); give a file of tokens with --tokens.") from error
    try:
        _check(os.fstat(descriptor), place)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LARGEST:
        raise AccessError(f"{place} is larger than a file of tokens may be, {_LARGEST >> 20} MiB; leave some out.")
    with suppress(UnicodeDecodeError):
        return content.decode()
    raise AccessError(f"{place} is not UTF-8; a file of tokens has a token and its tenant a line.")


def _check(status: os.stat_result, place: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AccessError(f"{place} is no file; give a file of tokens with --tokens.")
    if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o077:
        raise AccessError(
            f"{place} has the mode {stat.S_IMODE(status.st_mode):o}, so others than you may read the tokens in it. Run "
            f"`chmod 600 {place}` as the owner, and make new tokens if somebody may have read them."
        )


def _tenant(text: str, place: str) -> str | None:
    if not text.startswith('"'):
        return text or None
    with suppress(ValueError):
        tenant = json.loads(text)
        if isinstance(tenant, str):
            return tenant
    raise AccessError(f"The tenant {one_line(text, 60)} in {place} is no string; write it without quotes, or as JSON.")


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
