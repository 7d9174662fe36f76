"""Write the row of a release: every dataset tagged, the new files hashed, and then the row that makes it exist.

Interrupted before the row, it is done again under the same name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from mnemic.dataset.checksums import hash_new
from mnemic.dataset.write import append_rows
from mnemic.release import Release, releases
from mnemic.schema import CHECKSUMS, RELEASES
from pipelines.identity import Record
from pipelines.steps.contracts import Context

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
    rows = hash_new(context.store, datasets, release)
    if len(rows):
        context.commit(lambda: append_rows(context.store["checksums"], rows, CHECKSUMS, context.properties(RECORD)))
