"""The folder `inbox` of a bank: a file for each call that waits, and one for each row that was forgotten.

The name of a call's file has the call, a hash of what was said, its rows and bytes. So a listing alone tells how much
waits, and two calls of one key that say different things are two files, of which neither takes the other's place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mnemic.dataset import Store
from mnemic.dataset.plain_files import PlainFiles
from mnemic.errors import BankError
from mnemic.inbox.calls import FILE_BYTES, RememberedCall, read_call

FOLDER = "inbox"
_AT_ONCE = 500
"""Files of calls that are in memory at the same time."""

_CALL = re.compile(r"([0-9a-f]{24})\.([0-9a-f]{32})\.(\d{1,5})\.(\d{1,8})")
_GONE = re.compile(r"([0-9a-f]{32})\.gone")


@dataclass(frozen=True)
class WaitingFile:
    """The file of a call: the name, and what it says."""

    name: str
    call: str
    digest: str
    rows: int
    size: int


@dataclass(frozen=True)
class InboxListing:
    """The files of calls, by name, and the ids of rows that were forgotten. ``others`` are names that are neither."""

    calls: tuple[WaitingFile, ...] = ()
    forgotten: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()
    of_call: dict[str, list[WaitingFile]] = field(default_factory=dict)


def files_of_inbox(store: Store) -> PlainFiles:
    return PlainFiles(store.root, FOLDER, store.storage_options)


def listed(files: PlainFiles) -> InboxListing:
    """What the folder holds."""
    calls, forgotten, others = list[WaitingFile](), set[str](), list[str]()
    of_call: dict[str, list[WaitingFile]] = {}
    for name in files.names():
        if match := _CALL.fullmatch(name):
            calls.append(WaitingFile(name, match[1], match[2], int(match[3]), int(match[4])))
            of_call.setdefault(match[1], []).append(calls[-1])
        elif match := _GONE.fullmatch(name):
            forgotten.add(match[1])
        else:
            others.append(name)
    return InboxListing(tuple(calls), frozenset(forgotten), tuple(others), of_call)


def name_of(call: RememberedCall) -> str:
    return f"{call.id}.{call.digest}.{len(call.rows)}.{call.size}"


def mark_of(row: str) -> str:
    """The name of the file that says that a row was forgotten."""
    return f"{row}.gone"


def read_calls(files: PlainFiles, waiting: Sequence[WaitingFile]) -> tuple[dict[str, RememberedCall], list[str]]:
    """Name -> call of the files that are there still, and the names of those that are damaged."""
    calls, damaged = dict[str, RememberedCall](), list[str]()
    for name, data in files.read([file.name for file in waiting], FILE_BYTES).items():
        try:
            call = read_call(data, f"{files.uri}/{name}")
        except BankError:
            damaged.append(name)
            continue
        if name_of(call) != name:
            damaged.append(name)
            continue
        calls[name] = call
    return calls, damaged


def copy_waiting(store: Store, target: Store) -> None:
    """Copy what waits to another bank. A call that a build takes in meanwhile is met in its release, or here."""
    files, copies = files_of_inbox(store), files_of_inbox(target)
    there = set(copies.names())
    listing = listed(files)
    missing = [file for file in listing.calls if file.name not in there]
    for start in range(0, len(missing), _AT_ONCE):
        calls, damaged = read_calls(files, missing[start : start + _AT_ONCE])
        warn_of_damage(files, damaged)
        for name, call in calls.items():
            copies.write(name, call.as_bytes())
    for row in sorted(listing.forgotten):
        if mark_of(row) not in there:
            copies.write(mark_of(row), b"")


def warn_of_damage(files: PlainFiles, damaged: Iterable[str]) -> None:
    for name in damaged:
        warnings.warn(
            f"{files.uri}/{name} does not hold what was remembered, and is passed over: the disk fails, or somebody "
            f"changed it. Bring it back from a copy, or delete it, and remember its rows anew.",
            stacklevel=3,
        )
