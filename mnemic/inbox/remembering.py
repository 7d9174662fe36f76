"""The part of a bank that remembers: what `mnemic.bank.Bank` offers for its inbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from mnemic.inbox.inbox import Inbox
from mnemic.inbox.waiting import WaitingCall


class Remembering:
    """Remembering, forgetting, and what waits for the next build."""

    _inbox: Inbox
    pinned: bool

    def remember(
        self,
        what: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
        *,
        tenant: str | None = None,
        speaker: str | None = None,
        time: datetime | date | str | None = None,
        key: str | None = None,
    ) -> list[str]:
        """Add ``what`` to the bank's inbox, and return the ids of its rows: one of a text, one for each turn.

        ``what`` is a text, or a list of turns of a conversation, each a text or a mapping with text and, where they are
        known, speaker and time. ``speaker`` and ``time`` (by default now) hold for those that state none. Any number of
        processes may remember at once, also during a build. The next search finds the rows, and the next build makes a
        document of the call, once.

        ``key`` makes repeating harmless: a call with the key of an earlier one of the same tenant is that one, and
        gives its ids. It is an error where it says something else. Raises ``QueryError`` for what cannot be remembered,
        and ``BankError`` where too much waits for the next build.
        """
        return self._inbox.remember(what, tenant, speaker, time, key)

    def inbox(self, tenant: str | None = None) -> list[WaitingCall]:
        """What was remembered and waits for the next build, the oldest first; of one ``tenant`` where it is named.

        Nothing of a bank that was opened by the name of a release.
        """
        if self.pinned:
            return []
        return [call for call in self._inbox.calls() if tenant is None or call.tenant == tenant]

    def forget(self, ids: str | Sequence[str], *, tenant: str | None = None) -> int:
        """Forget rows that wait, by their ids: no search finds them, and no build takes them in. Returns how many.

        With ``tenant`` rows of others are unknown. Raises ``BankError`` for rows that do not wait; a document is taken
        out with `mnemic.remove`. A build that takes a row in at this very moment still has it in its release; the next
        one has not.
        """
        return self._inbox.forget(ids, tenant)
