"""Releases: one row pins a version of every dataset of a bank.

A release is written last, so a reader never sees a half-built bank. Its name is the day, with a number from the second
of a day on: `2026.11.21`, `2026.11.21-2`. Names are for people: the order of releases is that of their commits, as the
clock of a builder may have been wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mnemic.catalogue import NAME, DatasetSpec
from mnemic.dataset import Dataset, Store
from mnemic.dataset.files import absent, files_of, needed_files
from mnemic.errors import BankError, Unreachable
from mnemic.expected import check_schema
from mnemic.facts import ADVICE, check_types, mapping
from mnemic.schema import RELEASES
from mnemic.terminal import one_line, plain

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Of a release, which is also a tag of Lance."""
_MOST = 1 << 62


@dataclass(frozen=True)
class Release:
    name: str
    created: datetime
    run: str
    versions: dict[str, int]
    counts: dict[str, int]
    recipe: dict[str, Any]
    lineage: dict[str, Any]

    def __str__(self) -> str:
        """Name, time, and rows of what a person asks about; `repr` has every field."""
        rows = [f"{self.counts[name]:,} {name}" for name in ("documents", "events", "memories") if name in self.counts]
        named = one_line(str(self.recipe.get("name") or ""), 80)
        lines = [f"release {self.name} of {self.created:%Y-%m-%d %H:%M} UTC" + (f", recipe {named}" if named else "")]
        lines += [f"  {', '.join(rows)}"] if rows else []
        lines.append(f"  steps: {', '.join(one_line(step, 60) for step in self.lineage)}")
        return "\n".join(lines)


def releases(store: Store) -> list[Release]:
    """All releases in the order of their commits, oldest first; empty when the bank has none.

    Raises ``BankError`` where one cannot be made out.
    """
    return [release_of(row, store.root) for row in release_rows(store)]


def release_rows(store: Store) -> list[dict[str, Any]]:
    """The rows of `releases` as they stand in the bank, in the order of their commits, oldest first."""
    snapshot = store["releases"].snapshot()
    if snapshot is None:
        return []
    check_schema("releases", snapshot.schema, snapshot.uri)
    rows: list[dict[str, Any]] = snapshot.in_commit_order(RELEASES.names).to_pylist()
    return rows


def release_of(row: Mapping[str, Any], root: str) -> Release:
    """The release of a row. Raises ``BankError`` where it is none that mnemic wrote.

    A release pins datasets inside the bank: their names lead nowhere else. What it says of its steps has the form that
    `show` and `search` rely on.
    """
    name = row["release"]
    if not isinstance(name, str) or not _NAME.fullmatch(name) or row["created"] is None:
        raise BankError(f"{root} has a release that is called {one_line(repr(name), 60)}. {ADVICE}")
    place = f"Release {name} of {root}"
    versions, counts, recipe, lineage = (
        mapping(row[column], f"{place}: {column}") for column in ("versions", "counts", "recipe", "lineage")
    )
    for dataset, version in versions.items():
        if not NAME.fullmatch(dataset):
            raise BankError(f"{place} names {one_line(repr(dataset), 60)}, which is no dataset of a bank. {ADVICE}")
        for what, number, least in (("version", version, 1), ("count", counts.get(dataset), 0)):
            if type(number) is not int or not least <= number < _MOST:
                raise BankError(f"{place} has {one_line(repr(number), 40)} as {what} of {dataset}. {ADVICE}")
    for step, record in lineage.items():
        about = f"{place}: the record of {one_line(repr(step), 40)}"
        if not isinstance(record, dict):
            raise BankError(f"{about} is no object. {ADVICE}")
        check_types(record, {"version": int, "fingerprint": str, "reads": dict, "fields": dict}, about)
        check_types({"found": {}, **record}, {"found": dict}, about)
        check_types({"due": "", **record.get("found", {})}, {"due": (str, type(None))}, about)
    return Release(name, row["created"], str(row["run"]), versions, counts, recipe, lineage)


def find_release(store: Store, name: str | None) -> Release:
    """The newest release, the one called ``name``, or the newest whose name begins with ``name`` (`2026.11`)."""
    rows = release_rows(store)
    if not rows:
        if any(store[dataset].snapshot() is not None for dataset in ("leases", "runs", "documents")):
            raise BankError(
                f"{store.root} has no release yet: its build has not ended. Run `mnemic build` with its recipe."
            )
        raise BankError(f"{store.root} is not a bank. Build one there with `mnemic build`, or check the path.")
    names = [str(row["release"]) for row in rows]
    sought = names[-1] if name is None else name
    matching = [place for place, one in enumerate(names) if one == sought] or [
        place for place, one in enumerate(names) if one.startswith(sought)
    ]
    if not matching:
        newest = ", ".join(plain(one) for one in names[-5:])
        raise BankError(f"{store.root} has no release {name!r}. The newest are: {newest}.")
    return release_of(rows[matching[-1]], store.root)


def readable_release(store: Store, datasets: Collection[str]) -> Release | None:
    """The newest release that pins ``datasets`` and whose files of them are all there; None where there is none."""
    for release in reversed(releases(store)):
        if all(name in release.versions and _is_there(store[name], release.versions[name]) for name in datasets):
            return release
    return None


def lacking(store: Store, release: Release) -> list[str]:
    """Datasets of a release whose files are not all there."""
    return [name for name, version in release.versions.items() if not _is_there(store[name], version)]


def _is_there(dataset: Dataset, version: int) -> bool:
    try:
        snapshot = dataset.require(version)
        there = files_of(dataset.uri, dataset.storage_options)
        return not absent(needed_files(snapshot.native, there), there)
    except Unreachable:
        raise
    except BankError:
        return False


def current_versions(store: Store, specs: Iterable[DatasetSpec]) -> dict[str, int]:
    """Newest version of every dataset that a release would pin now, of those that the recipe's steps make."""
    snapshots = {spec.name: store[spec.name].snapshot() for spec in specs if spec.pinned}
    return {name: snapshot.version for name, snapshot in snapshots.items() if snapshot is not None}
