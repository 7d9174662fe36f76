"""Releases: one row pins a version of every dataset of a bank.

A release is written last, so a reader never sees a half-built bank. Its name is the day, with a number from the second
of a day on: `2026.11.21`, `2026.11.21-2`. Names are for people: the order of releases is that of their commits, as the
clock of a builder may have been wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Store
from mnemic.errors import BankError


@dataclass(frozen=True)
class Release:
    name: str
    created: datetime
    run: str
    versions: dict[str, int]
    counts: dict[str, int]
    recipe: dict[str, Any]
    lineage: dict[str, Any]


def releases(store: Store) -> list[Release]:
    """All releases in the order of their commits, oldest first; empty when the bank has none."""
    snapshot = store["releases"].snapshot()
    if snapshot is None:
        return []
    rows = snapshot.in_commit_order(snapshot.schema.names).to_pylist()
    return [
        Release(
            row["release"],
            row["created"],
            row["run"],
            json.loads(row["versions"]),
            json.loads(row["counts"]),
            json.loads(row["recipe"]),
            json.loads(row["lineage"]),
        )
        for row in rows
    ]


def find_release(store: Store, name: str | None) -> Release:
    """The newest release, the one called ``name``, or the newest whose name begins with ``name`` (`2026.11`)."""
    existing = releases(store)
    if not existing:
        if any(store[dataset].snapshot() is not None for dataset in ("leases", "runs", "documents")):
            raise BankError(
                f"{store.root} has no release yet: its build has not ended. Run `mnemic build` with its recipe."
            )
        raise BankError(f"{store.root} is not a bank. Build one there with `mnemic build`, or check the path.")
    if name is None:
        return existing[-1]
    matching = [release for release in existing if release.name == name] or [
        release for release in existing if release.name.startswith(name)
    ]
    if not matching:
        newest = ", ".join(release.name for release in existing[-5:])
        raise BankError(f"{store.root} has no release {name!r}. The newest are: {newest}.")
    return matching[-1]


def current_versions(store: Store, specs: Iterable[DatasetSpec]) -> dict[str, int]:
    """Newest version of every dataset that a release would pin now, of those that the recipe's steps make."""
    snapshots = {spec.name: store[spec.name].snapshot() for spec in specs if spec.pinned}
    return {name: snapshot.version for name, snapshot in snapshots.items() if snapshot is not None}
