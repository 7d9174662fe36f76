"""One idempotent commit.

Committing the same ``Append`` twice doubles its rows, so a commit that may have landed before its answer was lost must
never be repeated blindly. Every commit carries a key of its own in the transaction properties; before a retry the
transactions since the read version are searched for that key.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import TypeVar

import lance
from lance.commit import CommitConflictError

from mnemic.dataset.failures import disk_is_full, missing, readable_errors, told
from mnemic.errors import BankError, Unreachable

StorageOptions = Mapping[str, str]
ResultT = TypeVar("ResultT")

COMMIT_KEY = "mnemic.commit"
ATTEMPTS = 3
PATIENCE = 20.0
"""Seconds after which nothing is tried again: an object store that hangs costs a minute an attempt."""

_CONFLICTS = ("Incompatible transaction", "ommit conflict", "Too many concurrent writers", "_versions/0.manifest")
"""How Lance says that another commit was in the way; the last, that a dataset to be made is there by now."""


class Conflict(BankError):
    """Another writer was in the way of a commit; trying it again on the newest version may succeed."""


def conflicting(error: Exception) -> bool:
    """Whether Lance refused a commit because of another one."""
    return isinstance(error, CommitConflictError) or any(phrase in str(error) for phrase in _CONFLICTS)


def retried(action: Callable[[], ResultT], uri: str, settled: Callable[[], ResultT | None] = lambda: None) -> ResultT:
    """The result of ``action``, tried three times while the disk or the network fails.

    An action that must not happen twice has ``settled``: the result of an attempt that succeeded although its answer
    was lost, else None. Other errors than those of I/O are raised at once. An object store that does not answer raises
    `Unreachable` in the end.
    """
    started = time.monotonic()
    with readable_errors(uri):
        for tries_left in range(ATTEMPTS - 1, -1, -1):
            try:
                return action()
            except (OSError, ValueError) as error:
                if not _passing(error, uri):
                    raise
                done = settled()
                if done is not None:
                    return done
                if tries_left == 0 or time.monotonic() - started > PATIENCE:
                    raise
                time.sleep(0.2 * (ATTEMPTS - tries_left))
    raise AssertionError("unreachable")


def _passing(error: OSError | ValueError, uri: str) -> bool:
    """Whether another attempt may succeed. Lance tells errors of reading as ValueError too, and names them."""
    if missing(error) or disk_is_full(error) or conflicting(error):
        return False
    if "://" in uri:
        sentence = told(error, uri)
        if sentence is not None:
            return isinstance(sentence, Unreachable)  # wrong credentials stay wrong
    return isinstance(error, OSError) or "LanceError(IO)" in str(error)


def transaction_of(dataset: lance.LanceDataset, version: int) -> lance.Transaction | None:
    """The transaction that made ``version``; None where it is not stored, or is one of Lance's own compaction.

    pylance 14 has no form for one that rewrote indexes, and raises a TypeError.
    """
    try:
        return dataset.read_transaction(version)
    except TypeError:
        return None


def landed(dataset: lance.LanceDataset, key: str, since: int) -> int | None:
    """The version that a commit with this key made, of those after version ``since``."""
    for version in range(since + 1, dataset.version + 1):
        transaction = transaction_of(dataset, version)
        if transaction is not None and (transaction.transaction_properties or {}).get(COMMIT_KEY) == key:
            return version
    return None


def commit(
    uri: str,
    operation: lance.LanceOperation.BaseOperation,
    read_version: int,
    properties: Mapping[str, str],
    storage_options: StorageOptions | None = None,
    check: Callable[[], None] = lambda: None,
) -> lance.LanceDataset:
    """Commit ``operation`` exactly once and return the dataset at the new version.

    Raises ``lance``'s conflict error when another writer changed the same fragments; I/O errors are tried three times.
    An ``Overwrite`` conflicts with whatever was committed after ``read_version``: Lance would put it in the place of
    that. ``check`` is called before every attempt; what it raises ends the commit.
    """
    key = uuid.uuid4().hex
    transaction = lance.Transaction(
        read_version=read_version,
        operation=operation,
        transaction_properties={**properties, COMMIT_KEY: key},
    )
    options = dict(storage_options) if storage_options else None
    strict = {"max_retries": 0} if isinstance(operation, lance.LanceOperation.Overwrite) else {}

    def attempt() -> lance.LanceDataset:
        check()
        try:
            return lance.LanceDataset.commit(
                uri, transaction, storage_options=options, enable_stable_row_ids=True, **strict
            )
        except (OSError, ValueError, RuntimeError) as error:
            # Lance repeats a request whose answer was lost, and then meets its own version
            own = already_landed() if strict and conflicting(error) else None
            if own is None:
                raise
            return own

    def already_landed() -> lance.LanceDataset | None:
        """Raises where that cannot be found out: a commit that may have landed is never repeated."""
        try:
            current = retried(lambda: lance.dataset(uri, storage_options=options), uri)
        except (ValueError, OSError) as error:
            if missing(error):
                return None
            raise
        version = landed(current, key, read_version)
        return None if version is None else current.checkout_version(version)

    return retried(attempt, uri, already_landed)
