"""Let an earlier version of a dataset be the newest again. No version goes: what it was before stays readable.

Lance commits a restored version on top of the newest. Where the newest manifest cannot be read, or was lost, it cannot,
or it would give the number of a lost version to other rows, and a release that pins the number would show those. Then
the restored manifest is made in a folder of its own, under a number that no version ever had, and is put there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import lance

from mnemic.dataset.commit import commit
from mnemic.dataset.failures import readable_errors
from mnemic.dataset.files import copy_in, copy_out, files_of, manifest_of
from mnemic.dataset.snapshot import Snapshot
from mnemic.dataset.store import Dataset


def restore(dataset: Dataset, version: int, after: int, properties: Mapping[str, str]) -> Snapshot:
    """Make ``version`` the newest of ``dataset``, under a number above ``after``: the largest that was ever in use.

    Only safe while this process holds the bank's lease.
    """
    operation = lance.LanceOperation.Restore(version)
    newest = _readable_newest(dataset)
    if newest is not None and newest >= after:
        return Snapshot(commit(dataset.uri, operation, newest, properties, dataset.storage_options), dataset)
    with tempfile.TemporaryDirectory(prefix="mnemic-restore-") as folder, readable_errors(dataset.uri):
        apart = str(Path(folder) / "apart.lance")
        manifest = manifest_of(version, files_of(dataset.uri, dataset.storage_options))
        copy_out(dataset.uri, manifest, Path(apart, manifest), dataset.storage_options)
        number = version
        while number <= after:  # each is one more than the one before
            number = int(commit(apart, operation, number, properties).version)
        there = files_of(apart)
        new = manifest_of(number, there)
        for path in [path for path in there if path.startswith(f"_transactions/{number - 1}-")]:
            copy_in(Path(apart, path), dataset.uri, path, dataset.storage_options)
        copy_in(Path(apart, new), dataset.uri, new, dataset.storage_options)  # last: it makes the version
    return dataset.require()


def _readable_newest(dataset: Dataset) -> int | None:
    try:
        return int(lance.dataset(dataset.uri, storage_options=dataset.storage_options).version)
    except (ValueError, OSError):
        return None
