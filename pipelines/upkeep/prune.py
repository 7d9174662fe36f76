"""End old releases, and free what only they need: rows of `releases` first, then tags, versions, and files.

Dropped are versions from before the newest release that no other release pins. Those since are kept: a build that was
interrupted reads in their commits what it has done. Each part finds out by itself what is left of it, so a kill
anywhere costs nothing but another run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mnemic.catalogue import NAME
from mnemic.dataset import Dataset, Store
from mnemic.dataset.checksums import checksums, hash_new
from mnemic.dataset.compaction import groups, merge
from mnemic.dataset.files import files_of, manifest_of, needed_files, versions_of
from mnemic.dataset.write import write_whole
from mnemic.errors import BankError, QueryError
from mnemic.quoting import one_of
from mnemic.release import Release, releases
from mnemic.schema import CHECKSUMS
from mnemic.verify import datasets_of
from pipelines.progress import Sink
from pipelines.steps.contracts import Context
from pipelines.upkeep.writing import bank_at, writing

BOOKS = ("releases", "runs", "checksums")
"""Datasets that no release pins and that grow by a few rows a build: read at their newest version alone."""

UNDER_WAY = ("leases", "partials")
"""Datasets that look after themselves: the lease drops its versions, and a step reads the commits of its partials."""

_OF_A_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}(-\d+)?")


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
        _carry_out(context, plan)
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
        dropped = _dropped(store[name], name, rest)
        size = _size(store[name], dropped)
        if dropped or size:
            versions[name], sizes[name] = len(dropped), size
    ended = tuple(release.name for release in every if release.name not in names)
    return Pruning(store.root, ended, tuple(release.name for release in rest), versions, sizes)


def _dropped(dataset: Dataset, name: str, rest: Sequence[Release]) -> list[int]:
    """Versions that go: older than the newest release's, or than the head where it has none, and pinned by no other."""
    head = None if name in UNDER_WAY else dataset.snapshot()
    if head is None:
        return []
    pins = {release.versions[name] for release in rest if name in release.versions}
    since = rest[-1].versions.get(name, head.version)
    numbers = versions_of(dataset.uri, dataset.storage_options)
    if not pins <= set(numbers):
        raise BankError(
            f"{dataset.uri} lacks a version that a release pins, so nothing is dropped. `mnemic verify` names it; let "
            "`mnemic repair` go back, or bring the dataset back from a copy."
        )
    return [number for number in numbers if number < since and number not in pins]


def _size(dataset: Dataset, dropped: Collection[int]) -> int:
    """Bytes of the files that no other version needs than those that go."""
    if not dropped:
        return 0
    there = files_of(dataset.uri, dataset.storage_options)
    needed: set[str] = set()
    for number in versions_of(dataset.uri, dataset.storage_options):
        if number in dropped:
            continue
        for file in needed_files(dataset.require(number).native, there):
            needed |= {path for path in there if path.startswith(f"{file.path}/")} if file.folder else {file.path}
    going = {manifest_of(number, there) for number in dropped}
    apart = ("_versions/", "_transactions/")
    going |= {path for path in there if path not in needed and not path.startswith(apart)}
    return sum(there.get(path, 0) for path in going)


def _carry_out(context: Context, plan: Pruning) -> None:
    store = context.store
    if plan.ended:
        context.commit(lambda: store["releases"].delete(one_of("release", list(plan.ended))))
    every = releases(store)
    names = {release.name for release in every}
    for name in datasets_of(store):
        dataset = store[name]
        head = None if name in UNDER_WAY else dataset.snapshot()
        if head is None:
            continue
        for tag in head.tags():
            if tag not in names and (tag in plan.ended or _OF_A_RELEASE.fullmatch(tag)):
                context.commit(lambda dataset=dataset, tag=tag: dataset.untag(tag))  # type: ignore[misc]
        if name not in BOOKS:
            _drop(context, dataset, _dropped(dataset, name, every))
    for name in BOOKS:
        dataset = store[name]
        if name == "checksums":
            _write_checksums(context, every[-1].name)
        if dataset.snapshot() is not None:
            for group in groups(dataset.require()):
                context.commit(lambda dataset=dataset, group=group: merge(dataset, group))  # type: ignore[misc]
            _drop(context, dataset, _dropped(dataset, name, every))


def _drop(context: Context, dataset: Dataset, versions: Sequence[int]) -> None:
    if versions:
        context.commit(lambda: dataset.drop_versions(versions))
    dataset.remove_orphans(context.lease.settled)


def _write_checksums(context: Context, release: str) -> None:
    """Write `checksums` anew: without the files that are gone, and with those of `releases` that came."""
    store, dataset = context.store, context.store["checksums"]
    rows = checksums(store)
    names = {name for path in rows if NAME.fullmatch(name := path.partition(".lance/")[0])}
    there = {f"{name}.lance/{path}" for name in names for path in files_of(store[name].uri, store.storage_options)}
    rest = {path: value for path, value in rows.items() if path in there}
    new = hash_new(store, ["releases"], release) if rows else CHECKSUMS.empty_table()
    if len(rest) == len(rows) and not len(new):
        return
    columns = {
        "path": list(rest),
        "size": [value.size for value in rest.values()],
        "hash": [value.hash for value in rest.values()],
        "release": [value.release for value in rest.values()],
    }
    table = pa.concat_tables([pa.table(columns, schema=CHECKSUMS), new])
    context.commit(lambda: dataset.replace(CHECKSUMS, write_whole(dataset, table), {}, {}))
