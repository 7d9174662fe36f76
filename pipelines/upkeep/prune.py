"""End old releases, and free what only they need: rows of `releases` first, then tags, versions, and files.

Each part finds out by itself what is left of it, so a kill anywhere costs nothing but another run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mnemic.dataset import Dataset, Store
from mnemic.dataset.files import files_of, manifest_of, needed_files, versions_of
from mnemic.errors import QueryError
from mnemic.release import Release, releases
from mnemic.verify import datasets_of
from pipelines.progress import Sink
from pipelines.upkeep.dropping import dropped, end_releases
from pipelines.upkeep.writing import bank_at, writing


@dataclass(frozen=True)
class Pruning:
    """Releases that end and that stay; for each dataset the versions that go, and about how many bytes that frees."""

    bank: str
    ended: tuple[str, ...]
    staying: tuple[str, ...]
    versions: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def freed(self) -> int:
        return sum(self.bytes.values())

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "freed": self.freed}


def prune(
    bank: str | Path,
    keep: int = 5,
    keep_monthly: int = 12,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
    sink: Sink = lambda event: None,
) -> Pruning:
    """End all releases of ``bank`` but the newest ``keep``, and the last of each of the ``keep_monthly`` last months.

    ``dry_run`` says what would go, and changes nothing. The newest release never ends. Raises ``BankError`` where the
    bank cannot be read and ``BankInUse`` while a build runs.
    """
    if keep < 1 or keep_monthly < 0:
        raise QueryError(
            f"{keep} releases and {keep_monthly} months cannot be kept: give --keep at least 1, for the newest release "
            "never ends, and --keep-monthly at least 0."
        )
    store = bank_at(bank, storage_options)
    if dry_run:
        return _planned(store, keep, keep_monthly)
    with writing(store, "prune", sink) as context:
        plan = _planned(context.store, keep, keep_monthly)
        end_releases(context, plan.ended)
        return plan


def staying(every: Sequence[Release], keep: int, keep_monthly: int) -> set[str]:
    """Names of the releases that stay, of all in the order of their commits."""
    last_of_month = {f"{release.created:%Y-%m}": release.name for release in every}
    months = sorted(last_of_month)[-keep_monthly:] if keep_monthly else []
    return {*(release.name for release in every[-keep:]), *(last_of_month[month] for month in months)}


def _planned(store: Store, keep: int, keep_monthly: int) -> Pruning:
    every = releases(store)
    names = staying(every, keep, keep_monthly)
    rest = [release for release in every if release.name in names]
    versions, sizes = {}, {}
    for name in datasets_of(store):
        going = dropped(store[name], name, rest)
        size = _size(store[name], going)
        if going or size:
            versions[name], sizes[name] = len(going), size
    ended = tuple(release.name for release in every if release.name not in names)
    return Pruning(store.root, ended, tuple(release.name for release in rest), versions, sizes)


def _size(dataset: Dataset, going: Collection[int]) -> int:
    """Bytes of the files that no other version needs than those that are ``going``."""
    if not going:
        return 0
    there = files_of(dataset.uri, dataset.storage_options)
    needed: set[str] = set()
    for number in versions_of(dataset.uri, dataset.storage_options):
        if number in going:
            continue
        for file in needed_files(dataset.require(number).native, there):
            needed |= {path for path in there if path.startswith(f"{file.path}/")} if file.folder else {file.path}
    files = {manifest_of(number, there) for number in going}
    apart = ("_versions/", "_transactions/")
    files |= {path for path in there if path not in needed and not path.startswith(apart)}
    return sum(there.get(path, 0) for path in files)
