"""Who a token is: the tokens of a file, read again when it changes, and the one of the environment."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from mnemic.bank import Bank
from mnemic.errors import RecipeError
from mnemic.serve.access import VARIABLE, Access, AccessError, TokenTable
from mnemic.serve.allowed import only_tenant, tenants_of
from mnemic.serve.refusals import log
from mnemic.terminal import one_line


class Callers:
    """The callers of a server of ``bank``.

    ``tenant`` is whom the server is bound to: tokens of others are none. Tokens that name no tenant are of that one, or
    of the one that the bank has. Raises `AccessError` or `BankError` where it is not clear whom a token may see.
    """

    def __init__(self, bank: Bank, file: str | None, token: str | None, tenant: str | None) -> None:
        self.tenant = None if tenant is None else only_tenant(bank, tenant)
        if not file and not token:
            raise AccessError(
                "A server on HTTP needs a token. Give a file with --tokens (`mnemic serve BANK --tokens FILE "
                f"--new-token TENANT` makes one), or one token in the variable {VARIABLE} of the environment. "
                "--stdio needs none."
            )
        self._bank, self._file, self._lock = bank, Path(file) if file else None, threading.Lock()
        self._own = self._bound(TokenTable.of_token(token, None)) if token else {}
        self._state = self._stamp()
        self._read = self._bound(TokenTable.read(self._file)) if self._file else {}
        strangers = sorted(set(self._read.values()) - set(tenants_of(bank)))
        if strangers:
            named = ", ".join(one_line(one, 60) for one in strangers[:8])
            log(f"there are tokens for tenants of whom the bank has no document yet: {named}")

    def __len__(self) -> int:
        return len(self._own) + len(self._read)

    def access(self, token: str) -> Access | None:
        """What the caller with this token may see; None for a token that is none."""
        match = TokenTable({**self._own, **self._current()}).find(token)
        if match is None or match[0] is None:
            return None
        return Access(match[0]) if self.tenant in (None, match[0]) else None

    def _current(self) -> dict[bytes, str]:
        """The tokens of the file as it is now; none while it cannot be used."""
        if self._file is None:
            return {}
        with self._lock:
            stamp = self._stamp()
            if stamp != self._state:
                self._state = stamp
                try:
                    self._read = self._bound(TokenTable.read(self._file))
                    log(f"{len(self._read):,} tokens are read")
                except RecipeError as error:
                    self._read = {}
                    log(f"no token of the file is good any more: {error}")
            return self._read

    def _bound(self, table: TokenTable) -> dict[bytes, str]:
        return {
            digest: (only_tenant(self._bank, self.tenant) if tenant is None else tenant)
            for digest, tenant in table.tenants.items()
        }

    def _stamp(self) -> tuple[int, ...]:
        if self._file is None:
            return ()
        try:
            status = os.stat(self._file)
        except OSError:
            return (-1,)
        return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode, status.st_uid)
