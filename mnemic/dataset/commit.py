"""One idempotent commit.

Committing the same ``Append`` twice doubles its rows, so a commit that may have landed before its answer was lost must
never be repeated blindly. Every commit carries a key of its own in the transaction properties; before a retry the
transactions since the read version are searched for that key.
"""

from __future__ import annotations

import errno
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import lance

from mnemic.errors import BankError, NoSpace

StorageOptions = Mapping[str, str]
ResultT = TypeVar("ResultT")

COMMIT_KEY = "mnemic.commit"
ATTEMPTS = 3
_FULL = ("No space left", "os error 28", "Disk quota exceeded")


@contextmanager
def readable_errors(uri: str) -> Iterator[None]:
    """Turn the disk's errors into sentences that say what to do."""
    try:
        yield
    except OSError as error:
        if _disk_is_full(error):
            raise NoSpace(
                f"No space is left on the disk that holds {uri}. Everything committed so far is kept: "
                "free some space (`mnemic plan` lists the bytes per dataset) and run the same build again."
            ) from error
        if any(phrase in str(error) for phrase in ("Permission denied", "Read-only file system")):
            raise BankError(
                f"{uri} cannot be written: permission denied. Check its owner, or name another bank."
            ) from error
        raise


def _disk_is_full(error: OSError) -> bool:
    """Whether the operating system said so; Lance passes its words on, seldom its number."""
    return error.errno == errno.ENOSPC or any(phrase in str(error) for phrase in _FULL)


def missing(error: Exception) -> bool:
    """Whether Lance says that a dataset, version or tag does not exist, and not that it could not be read."""
    return isinstance(error, FileNotFoundError) or "not found" in str(error).lower()


def retried(action: Callable[[], ResultT], uri: str, settled: Callable[[], ResultT | None] = lambda: None) -> ResultT:
    """The result of ``action``, tried three times while the disk or the network fails.

    An action that must not happen twice has ``settled``: the result of an attempt that succeeded although its answer
    was lost, else None. Other errors than those of I/O are raised at once.
    """
    with readable_errors(uri):
        for tries_left in range(ATTEMPTS - 1, -1, -1):
            try:
                return action()
            except (OSError, ValueError) as error:
                if not _passing(error):
                    raise
                done = settled()
                if done is not None:
                    return done
                if tries_left == 0:
                    raise
                time.sleep(0.2 * (ATTEMPTS - tries_left))
    raise AssertionError("unreachable")


def _passing(error: OSError | ValueError) -> bool:
    """Whether another attempt may succeed. Lance tells errors of reading as ValueError too, and names them."""
    if missing(error):
        return False
    return not _disk_is_full(error) if isinstance(error, OSError) else "LanceError(IO)" in str(error)


def landed(dataset: lance.LanceDataset, key: str, since: int) -> bool:
    """Whether a commit with this key is among the transactions after version ``since``."""
    for version in range(since + 1, dataset.version + 1):
        transaction = dataset.read_transaction(version)
        if transaction is not None and (transaction.transaction_properties or {}).get(COMMIT_KEY) == key:
            return True
    return False


def commit(
    uri: str,
    operation: lance.LanceOperation.BaseOperation,
    read_version: int,
    properties: Mapping[str, str],
    storage_options: StorageOptions | None = None,
) -> lance.LanceDataset:
    """Commit ``operation`` exactly once and return the dataset at the new version.

    Raises ``lance``'s conflict error when another writer changed the same fragments; I/O errors are tried three times.
    """
    key = uuid.uuid4().hex
    transaction = lance.Transaction(
        read_version=read_version,
        operation=operation,
        transaction_properties={**properties, COMMIT_KEY: key},
    )
    options = dict(storage_options) if storage_options else None

    def attempt() -> lance.LanceDataset:
        return lance.LanceDataset.commit(uri, transaction, storage_options=options, enable_stable_row_ids=True)

    def already_landed() -> lance.LanceDataset | None:
        """Raises where that cannot be found out: a commit that may have landed is never repeated."""
        try:
            current = retried(lambda: lance.dataset(uri, storage_options=options), uri)
        except (ValueError, OSError) as error:
            if missing(error):
                return None
            raise
        return current if landed(current, key, read_version) else None

    return retried(attempt, uri, already_landed)
