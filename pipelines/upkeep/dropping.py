"""Free what no release needs: tags, versions and files, of every dataset.

Dropped are versions from before the newest release that no other release pins. Those since are kept: a build that was
interrupted reads in their commits what it has done.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pyarrow as pa

from mnemic.catalogue import NAME
from mnemic.dataset import Dataset
from mnemic.dataset.checksums import checksums, hash_new
from mnemic.dataset.compaction import groups, merge
from mnemic.dataset.files import files_of, versions_of
from mnemic.dataset.write import write_whole
from mnemic.errors import BankError
from mnemic.quoting import one_of
from mnemic.release import Release, releases
from mnemic.schema import CHECKSUMS
from mnemic.verify import datasets_of
from pipelines.steps.contracts import Context

BOOKS = ("releases", "runs", "checksums")
"""Datasets that no release pins and that grow by a few rows a build: read at their newest version alone."""

UNDER_WAY = ("leases", "partials")
"""Datasets that look after themselves: the lease drops its versions, and a step reads the commits of its partials."""

_OF_A_RELEASE = re.compile(r"\d{4}\.\d{2}\.\d{2}(-\d+)?")


def dropped(dataset: Dataset, name: str, rest: Sequence[Release]) -> list[int]:
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


def end_releases(context: Context, ended: Collection[str]) -> None:
    """End these releases, and free what no other one needs."""
    store = context.store
    if ended:
        context.commit(lambda: store["releases"].delete(one_of("release", sorted(ended))))
    every = releases(store)
    names = {release.name for release in every}
    for name in datasets_of(store):
        dataset = store[name]
        head = None if name in UNDER_WAY else dataset.snapshot()
        if head is None:
            continue
        for tag in head.tags():
            if tag not in names and (tag in ended or _OF_A_RELEASE.fullmatch(tag)):
                context.commit(lambda dataset=dataset, tag=tag: dataset.untag(tag))  # type: ignore[misc]
        if name not in BOOKS:
            _drop(context, dataset, dropped(dataset, name, every))
    for name in BOOKS:
        dataset = store[name]
        if name == "checksums":
            _write_checksums(context, every[-1].name)
        if dataset.snapshot() is not None:
            for group in groups(dataset.require()):
                context.commit(lambda dataset=dataset, group=group: merge(dataset, group))  # type: ignore[misc]
            _drop(context, dataset, dropped(dataset, name, every))


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
