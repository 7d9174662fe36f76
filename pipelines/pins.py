"""Write the row of a release: every dataset tagged, the new files hashed, and then the row that makes it exist.

Interrupted before the row, it is done again under the same name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic.dataset.checksums import hash_files, hash_new
from mnemic.dataset.write import append_rows
from mnemic.release import Release, releases
from mnemic.schema import CHECKSUMS, RELEASES
from operators.contracts import Resources
from pipelines.identity import Record
from pipelines.steps.contracts import Context

HASHED_HERE = 1 << 30
"""Bytes of new files up to which the process that runs the build hashes them itself, at 830 MB/s a core."""

MOST_FILES = 4096
"""Files that a worker hashes at a time."""

STEP = "release"
RECORD = Record(STEP, 1, {}, {})


def pin(
    context: Context,
    created: datetime,
    versions: Mapping[str, int],
    counts: Mapping[str, int],
    recipe: str,
    lineage: Mapping[str, Any],
    run: str = "",
) -> Release:
    """Let a release pin ``versions`` of datasets. ``recipe`` is JSON; ``run`` is the context's unless it is named."""
    name = release_name(created, [release.name for release in releases(context.store)])
    for dataset, version in versions.items():
        context.store[dataset].tag(name, version)
    _write_checksums(context, versions, name)
    row = {
        "release": name,
        "created": created,
        "run": run or context.run,
        "versions": json.dumps(dict(versions)),
        "counts": json.dumps(dict(counts)),
        "recipe": recipe,
        "lineage": json.dumps(lineage, sort_keys=True, default=str),
    }
    table = pa.Table.from_pylist([row], schema=RELEASES)

    def commit() -> None:
        context.lease.confirm()
        append_rows(context.store["releases"], table, RELEASES, context.properties(RECORD))

    context.commit(commit)
    _write_checksums(context, ["releases"], name)  # without them the row is there, and verified by its size alone
    return releases(context.store)[-1]


def release_name(now: datetime, names: list[str]) -> str:
    """The day, with a number from the second of a day on. Names of releases that have ended do not come again."""
    day = now.strftime("%Y.%m.%d")
    of_day = [re.fullmatch(rf"{re.escape(day)}(?:-(\d{{1,9}}))?", name) for name in names]
    numbers = [int(match[1] or 1) for match in of_day if match is not None]
    return f"{day}-{max(numbers) + 1}" if numbers else day


def _write_checksums(context: Context, datasets: Iterable[str], release: str) -> None:
    """Write down what the files of ``datasets`` are that came since the last release."""
    rows = hash_new(context.store, datasets, release, partial(_hashed, context))
    if len(rows):
        context.commit(lambda: append_rows(context.store["checksums"], rows, CHECKSUMS, context.properties(RECORD)))


def _hashed(context: Context, files: Mapping[str, int]) -> Mapping[str, str]:
    """The hashes of ``files``, path -> bytes: by this process, or where they are many bytes by the workers."""
    store = context.store
    if sum(files.values()) <= HASHED_HERE:
        return hash_files(store, files)

    def factory() -> Callable[[list[str]], Mapping[str, str]]:
        return partial(hash_files, store)

    job = context.job(factory, Resources(), lambda paths: f"{len(paths):,} files, the first is {paths[0]}")
    hashes: dict[str, str] = {}
    for some in context.engine.map(job, _shares(files)):
        hashes |= some
    return hashes


def _shares(files: Mapping[str, int]) -> Iterator[list[str]]:
    """``files``, so many at a time that a worker has something to do and the answer is small."""
    share, size = list[str](), 0
    for path, length in files.items():
        share.append(path)
        size += length
        if size > HASHED_HERE // 4 or len(share) >= MOST_FILES:
            yield share
            share, size = [], 0
    if share:
        yield share
