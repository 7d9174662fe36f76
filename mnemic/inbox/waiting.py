"""The rows that wait: remembered, and not yet in the reader's release.

A release pins the rows of the dataset `inbox` that its documents were made of. What a build has taken over since stands
in the newest version, and what no build has seen stands in files. Files are read first: a build deletes one only when
its rows are committed, so a row is met in one place at least.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mnemic.dataset import Snapshot
from mnemic.expected import check_schema
from mnemic.inbox.calls import SOURCE, RememberedCall, Row
from mnemic.inbox.files import InboxListing, files_of_inbox, listed, read_calls, warn_of_damage
from mnemic.quoting import one_of
from mnemic.view import View

NAME = SOURCE
"""Of the dataset."""

LOOK_AGAIN = 0.5
"""Seconds until the newest version of the dataset is looked at again, where no file has gone."""

_AT_ONCE = 2_000

COLUMNS = ("id", "call", "tenant", "turns", "digest", "remembered", "rows", "speaker", "time", "text")


@dataclass(frozen=True)
class WaitingCall:
    """A call with the ``rows`` of it that wait."""

    id: str
    tenant: str
    turns: bool
    remembered: datetime
    rows: tuple[Row, ...]


class Waiting:
    """What waits for a reader of ``view``; files that were read once are not read again."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._files = files_of_inbox(view.store)
        self._calls: dict[str, RememberedCall] = {}
        self._damaged = set[str]()
        self._listing: tuple[int | None, InboxListing] = (None, InboxListing())
        self._version, self._looked = 0, -math.inf
        self._newer: list[WaitingCall] = []
        self._pinned: frozenset[str] | None = None
        self._one = threading.Lock()

    def calls(self) -> list[WaitingCall]:
        """The calls that have rows which wait, in the order of their times; threads ask one after the other."""
        with self._one:
            return self._calls_now()

    def _calls_now(self) -> list[WaitingCall]:
        listing = self._listed()
        new = [file for file in listing.calls if file.name not in self._calls and file.name not in self._damaged]
        read, damaged = read_calls(self._files, new)
        warn_of_damage(self._files, damaged)
        self._damaged.update(damaged)
        there = {file.name for file in listing.calls}
        gone = len(read) + len(damaged) < len(new) or not self._calls.keys() <= there
        self._calls = {name: call for name, call in {**self._calls, **read}.items() if name in there}
        newer = self._taken_over(gone)
        if not self._calls and not newer:
            return []
        pinned = self.pinned
        waiting = {call.id: call for call in newer}
        for call in self._calls.values():
            rows = tuple(row for row in call.rows if row.id not in pinned)
            if rows and call.id not in waiting:
                waiting[call.id] = WaitingCall(call.id, call.tenant, call.turns, call.remembered, rows)
        if listing.forgotten:
            waiting = {name: _without(call, listing.forgotten) for name, call in waiting.items()}
        return sorted((call for call in waiting.values() if call.rows), key=lambda call: (call.remembered, call.id))

    @property
    def pinned(self) -> frozenset[str]:
        """Ids of the rows that the release holds documents of."""
        if self._pinned is None:
            ids = self._view.dataset(NAME).table(["id"])["id"].to_pylist() if NAME in self._view else ()
            self._pinned = frozenset(ids)
        return self._pinned

    def _listed(self) -> InboxListing:
        stamp = self._files.stamp()
        if stamp is None or stamp != self._listing[0]:
            self._listing = (stamp, listed(self._files))
        return self._listing[1]

    def _taken_over(self, gone: bool) -> list[WaitingCall]:
        """The calls that a build has taken over and whose rows the release does not hold.

        The dataset is opened when files are ``gone``, and else once in `LOOK_AGAIN`: a build takes longer from the
        first look at a file to its end, and in an object store opening a dataset takes as long as a search.
        """
        if not gone and time.monotonic() < self._looked + LOOK_AGAIN:
            return self._newer
        self._looked = time.monotonic()
        head = self._view.store[NAME].snapshot()
        if head is None or head.version == self._view.release.versions.get(NAME):
            self._version, self._newer = 0, []
        elif head.version != self._version:
            self._version, self._newer = head.version, _new_calls(head, self.pinned)
        return self._newer


def _new_calls(head: Snapshot, pinned: frozenset[str]) -> list[WaitingCall]:
    check_schema(NAME, head.schema, head.uri)
    ids = head.table(["id", "forgotten"])
    new = [
        one
        for one, forgotten in zip(ids["id"].to_pylist(), ids["forgotten"].to_pylist(), strict=True)
        if one not in pinned and not forgotten
    ]
    rows: list[dict[str, Any]] = []
    for start in range(0, len(new), _AT_ONCE):
        rows += head.table(COLUMNS, one_of("id", new[start : start + _AT_ONCE])).to_pylist()
    return calls_of(rows)


def calls_of(rows: list[dict[str, Any]]) -> list[WaitingCall]:
    """The calls that rows of the dataset are of, each with its rows in order."""
    by_call: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        by_call.setdefault(row["call"], []).append(row)
    return [
        WaitingCall(
            name,
            some[0]["tenant"],
            some[0]["turns"],
            some[0]["remembered"],
            tuple(Row(row["id"], row["text"], row["speaker"], row["time"]) for row in some),
        )
        for name, some in by_call.items()
    ]


def _without(call: WaitingCall, forgotten: frozenset[str]) -> WaitingCall:
    rows = tuple(row for row in call.rows if row.id not in forgotten)
    return WaitingCall(call.id, call.tenant, call.turns, call.remembered, rows)
