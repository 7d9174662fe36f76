"""The books of a copy: the datasets that no release pins, with the rows that belong to what was copied.

`releases` comes last: without it a copy that was broken off is no bank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mnemic.copies.needed import NeededCopy
from mnemic.dataset import Dataset, Store
from mnemic.dataset.checksums import hash_new
from mnemic.dataset.write import append_rows, write_whole
from mnemic.errors import BankError
from mnemic.release import release_of, release_rows
from mnemic.schema import CHECKSUMS, INTENTS, RELEASES, RUNS
from mnemic.verify import verify

MOST_RUNS = 10_000
"""Rows of `runs` that a copy has, the newest: they are times, and the owner of the bank."""


def runs_of(store: Store) -> list[dict[str, Any]]:
    """The rows of `runs` for a copy, without commands of upkeep: what they were at is not under way in a copy."""
    snapshot = store["runs"].snapshot()
    if snapshot is None:
        return []
    apart = ", ".join(f"'{step}'" for step in INTENTS)
    rows: list[dict[str, Any]] = snapshot.in_commit_order(RUNS.names, f"step NOT IN ({apart})").to_pylist()
    owners = [row for row in rows[:-MOST_RUNS] if row["step"] == "recipe"]
    return [*owners[-1:], *rows[-MOST_RUNS:]]


def check_vacant(target: Store) -> None:
    """Raise ``BankError`` where a bank stands at the place of a copy; what a copy that was broken off left is none."""
    if release_rows(target) or any(target[name].snapshot() is not None for name in ("leases", "releases")):
        raise BankError(
            f"{target.root} holds a bank, or one that is being built, and a copy replaces nothing. Name another place."
        )


def write_books(
    target: Store, rows: Sequence[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]], files: Sequence[NeededCopy]
) -> None:
    """Write tags, `checksums`, `runs` and at last `releases` with these ``rows``, and verify the copy.

    Raises ``BankError`` where the copy is not whole.
    """
    chosen = [release_of(row, target.root) for row in rows]
    for release in chosen:
        for name, version in release.versions.items():
            target[name].tag(release.name, version)
    newest = chosen[-1].name
    sums = [{"path": file.path, "size": file.size, "hash": file.hash, "release": newest} for file in files if file.hash]
    _replace(target["checksums"], pa.Table.from_pylist(sums, schema=CHECKSUMS))
    _replace(target["runs"], pa.Table.from_pylist([dict(row) for row in runs], schema=RUNS))
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=RELEASES)
    append_rows(target["releases"], table, RELEASES, {})
    new = hash_new(target, ["releases"], newest)
    if sums and len(new):
        append_rows(target["checksums"], new, CHECKSUMS, {})
    verification = verify(target)
    if not verification.whole:
        raise BankError(f"The copy {target.root} is not whole: {verification.findings[0]} Delete it, and copy again.")


def _replace(dataset: Dataset, rows: pa.Table) -> None:
    dataset.replace(rows.schema, write_whole(dataset, rows), {}, {})
