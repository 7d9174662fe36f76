"""Files of a dataset that no version names, as killed writers leave them: listed first, deleted by name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import lance
from lance.file import LanceFileSession

from mnemic.dataset.commit import StorageOptions

AT_ONCE = 16
"""Files that are deleted at the same time in an object store."""

MOST = 1_000_000
"""Files that are listed; more go another time."""


def orphaned(dataset: lance.LanceDataset, of_any_age: bool) -> tuple[list[str], int]:
    """Files that no version names, by their paths in the dataset, and their bytes; or those of seven days and more."""
    left = dataset.explain_cleanup_old_versions(
        older_than=timedelta(days=36500),
        delete_unverified=of_any_age,
        error_if_tagged_old_versions=False,
        include_files=True,
        max_files=MOST,
    )
    folder = f"{dataset.uri.rstrip('/').rpartition('/')[2]}/"
    paths = [file.path.rpartition(folder)[2] for file in left.candidate_files]
    return paths, sum(file.size_bytes for file in left.candidate_files)


def delete_files(uri: str, files: Sequence[str], storage_options: StorageOptions | None) -> None:
    """Delete these files of the dataset at ``uri``; one that has gone already is no error."""
    if "://" not in uri:
        for file in files:
            place = Path(uri, file)
            place.unlink(missing_ok=True)
            if file.startswith("_indices/"):
                with contextlib.suppress(OSError):  # others of its segment are still there
                    place.parent.rmdir()
        return
    session = LanceFileSession(uri, dict(storage_options) if storage_options else None)

    def delete(file: str) -> None:
        try:
            session.delete_file(file)
        except OSError:
            if session.contains(file):
                raise

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(delete, files))
