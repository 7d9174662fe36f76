"""Remembering and forgetting, by any number of processes at once, without the bank's lease."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mnemic.conditions.values import shown, text
from mnemic.errors import BankError, InboxFull, QueryError
from mnemic.inbox.calls import CALL, SOURCE, RememberedCall, call_of, row_id
from mnemic.inbox.files import InboxListing, files_of_inbox, listed, mark_of, name_of
from mnemic.inbox.vectors import forget_vectors
from mnemic.inbox.waiting import NAME, Waiting, WaitingCall
from mnemic.view import View

PENDING_CALLS = 10_000
PENDING_BYTES = 64 << 20
"""Calls, and bytes of their texts, that may wait for the next build; every search looks at all of them."""


class Inbox:
    """The inbox of the bank of ``view``, as a reader of its release sees it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._files = files_of_inbox(view.store)
        self._waiting = Waiting(view)

    def calls(self) -> list[WaitingCall]:
        """The calls with rows that wait for the next build."""
        return self._waiting.calls()

    def remember(self, what: Any, tenant: str | None, speaker: str | None, time: Any, key: str | None) -> list[str]:
        """See `mnemic.bank.Bank.remember`."""
        call = call_of(what, tenant, speaker, time, key)
        self._check_name()
        listing = listed(self._files)
        ids = [row.id for row in call.rows]
        if key is not None and self._is_there(call, listing, key):
            return ids
        _check_room(listing, call)
        name = name_of(call)
        self._files.write(name, call.as_bytes())
        if key is None:
            return ids
        # Whoever writes looks afterwards: of two that use one key at once, one at least sees the other.
        try:
            stands = self._is_there(call, listed(self._files), key, own=name)
        except QueryError:
            self._files.delete([name])
            raise
        if stands:
            self._files.delete([name])
        return ids

    def forget(self, ids: Sequence[str], tenant: str | None) -> int:
        """See `mnemic.bank.Bank.forget`."""
        names = [_row_id(one) for one in ([ids] if isinstance(ids, str) else list(ids))]
        calls = {call.id: call for call in self.calls() if tenant is None or call.tenant == tenant}
        waiting = {row.id for call in calls.values() for row in call.rows}
        for one in names:
            if one not in waiting:
                raise self._unknown(one, tenant)
        for one in names:
            self._files.write(mark_of(one), b"")
        forget_vectors(self._view.path)
        listing = listed(self._files)
        files = [file for one in names for file in listing.of_call.get(one[:CALL], ())]
        # The file of a call goes with its last row; until then the others stand in it.
        rows = {file.name: {row_id(file.call, number) for number in range(file.rows)} for file in files}
        self._files.delete(name for name, own in rows.items() if own <= listing.forgotten)
        return len(set(names))

    def _unknown(self, row: str, tenant: str | None) -> BankError:
        if tenant is None and row in self._waiting.pinned:
            where = f"source = '{SOURCE}' AND locator = {text(row[:CALL])}"
            documents = self._view.table("documents", ["id"], where)["id"].to_pylist()
            document = f"the document {documents[0]}" if documents else "a document that was left out or removed"
            return BankError(
                f"The row {row} waits no more: release {self._view.release.name} has it in {document}. Remove that "
                f"with `mnemic remove {self._view.path} --ids`."
            )
        return BankError(
            f"No row {row} waits in {self._view.path}. `bank.inbox()` lists the rows that wait; what a build has taken "
            "in is a document, and `mnemic remove` takes it out."
        )

    def _is_there(self, call: RememberedCall, listing: InboxListing, key: str, own: str = "") -> bool:
        """Whether the call was remembered before. Raises `QueryError` where its key says something else."""
        forgotten = any(row.id in listing.forgotten for row in call.rows)
        there = [file.digest for file in listing.of_call.get(call.id, ()) if file.name != own]
        head = self._view.store[NAME].snapshot()
        if head is not None:
            rows = head.table(["digest", "forgotten"], f"call = {text(call.id)}")
            there += rows["digest"].to_pylist()
            forgotten = forgotten or any(rows["forgotten"].to_pylist())
        if forgotten:
            raise QueryError(f"Rows of the key {shown(key)} were forgotten, and do not come back. Give another key.")
        if any(one != call.digest for one in there):
            raise QueryError(
                f"The key {shown(key)} stands for something else, which was remembered before: a key is for one call "
                "and its repetitions. Give another key."
            )
        return bool(there)

    def _check_name(self) -> None:
        """Raise where a source of the recipe is called as ours is: their documents could not be told apart."""
        sources = self._view.release.recipe.get("sources", ())
        if any(isinstance(one, dict) and one.get("name") == SOURCE for one in sources):
            raise BankError(
                f"The recipe of {self._view.path} has a source called {SOURCE!r}, which is the name of what is "
                "remembered. Give that source another `name`, and build the bank again."
            )


def _check_room(listing: InboxListing, call: RememberedCall) -> None:
    calls, size = len(listing.calls) + 1, sum(file.size for file in listing.calls) + call.size
    if calls > PENDING_CALLS or size > PENDING_BYTES:
        raise InboxFull(
            f"{calls - 1:,} calls with {size - call.size:,} bytes wait already, of at most {PENDING_CALLS:,} and "
            f"{PENDING_BYTES:,}. Build the bank, which takes them in, and remember this again."
        )


def _row_id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{32}", value):
        raise QueryError(f"{shown(value)} is no id of a row; `bank.remember` gives ids, `bank.inbox()` lists them.")
    return value
