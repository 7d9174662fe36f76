"""The dataset `bands`: for every fragment of `documents` one run of its keys, ascending, each with its document's row.

The next build compares new documents with it. A run stands until the signatures or the shape of the bands change. Its
readers leave out rows of documents that were deleted since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Hashes, RowIds
from mnemic.dataset import Dataset, Snapshot
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.schema import BANDS
from operators.deduplicate import Deduplicate
from operators.deduplicate.bands import Bounds, within
from operators.deduplicate.candidates import BandPlan
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context

LARGE = 1 << 20
"""Keys from which on the part of a run that a shard wants is looked for instead of being cut out of the whole."""


@dataclass(frozen=True)
class Run:
    """A run: the fragment of `documents` that it was made of, the fragment of `bands` that it is, and its keys."""

    source: int
    fragment: int
    keys: int


@dataclass(frozen=True)
class Runs:
    """The runs of a bank, made by ``operator`` of signatures that ``record`` reads."""

    dataset: Dataset
    record: Record
    operator: Deduplicate

    def plan(self, documents: int, anew: bool) -> BandPlan:
        """How to go about ``documents``, with the shape that the runs have already unless all is made ``anew``."""
        snapshot = self.dataset.snapshot()
        shape = ((snapshot.record if snapshot else None) or {}).get("fields", {})
        mine = (self.operator.bands, self.operator.rows)
        if shape and not anew and mine == (None, None) and self.operator.method != "exact" and shape["bands"]:
            return replace(self.operator, bands=shape["bands"], rows=shape["rows"]).plan(documents)
        return self.operator.plan(documents)

    def identity(self, chosen: BandPlan) -> dict[str, Any]:
        """What runs and filters must have been made by, to be of use."""
        fields = {"bands": chosen.bands, "rows": chosen.rows}
        reads = {name: mark for name, mark in self.record.reads.items() if name == "signature"}  # decisions change none
        identity: dict[str, Any] = json.loads(
            json.dumps(Record("bands", self.operator.version, fields, reads).as_json())
        )
        return identity

    def extend(self, context: Context, documents: Snapshot, chosen: BandPlan) -> None:
        """Write the runs of all fragments that have none."""
        identity, operator, step, bands = self.identity(chosen), self.operator, context.step, self.dataset
        snapshot = bands.snapshot()
        if snapshot is None or snapshot.record != identity:
            context.commit(lambda: bands.create(BANDS, identity, context.properties(self.record)))
        there, standing = {run.source for run in self.index()}, {fragment.id for fragment in documents.fragments}
        if there - standing:  # their documents are gone, or their fragments were merged
            sources = ", ".join(map(str, sorted(there - standing)))
            context.commit(lambda: bands.delete(f"source IN ({sources})"))
        todo = [fragment.id for fragment in documents.fragments if fragment.id not in there]
        version, store, total, done = documents.version, context.store, len(todo), 0

        def factory() -> Callable[[int], tuple[WrittenFragment, ...]]:
            pinned = store["documents"].require(version)

            def work(fragment: int) -> tuple[WrittenFragment, ...]:
                parts = [
                    operator.keys(batch, batch["_rowid"].to_numpy(), chosen)
                    for batch in pinned.scan(operator.columns, fragments=[fragment], row_ids=True, batch_size=1 << 17)
                ]
                keys, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
                if len(parts) > 1:
                    order = np.argsort(keys)
                    keys, rows = keys[order], rows[order]
                faults.reach(step, "before-write")
                table = pa.table([np.full(len(keys), fragment, np.int32), keys, rows], schema=BANDS)
                written = write_rows(bands.uri, table, BANDS, bands.storage_options)
                faults.reach(step, "after-write")
                return tuple(written)

            return work

        def commit(wave: list[tuple[WrittenFragment, ...]]) -> None:
            nonlocal done
            fragments = [fragment for written in wave for fragment in written]
            if fragments:
                context.commit(lambda: append(bands, fragments, context.properties(self.record)))
            done += len(wave)
            context.progress(done, total, "runs of keys")

        job = context.job(factory, operator.resources, "fragment {} of documents".format)
        context.in_waves(context.engine.map(job, todo), commit)

    def index(self) -> list[Run]:
        """All runs, by source."""
        bands = self.dataset.require()
        runs = [
            Run(int(bands.part(fragment.id, ["source"], 0, 1)["source"][0].as_py()), fragment.id, fragment.rows)
            for fragment in bands.fragments
        ]
        return sorted(runs, key=lambda run: run.source)


def read_runs(bands: Snapshot, runs: Sequence[Run], bounds: Bounds) -> Iterator[tuple[Hashes, RowIds]]:
    """The keys of a range in each of these runs, ascending, with their rows; a large run comes in several pieces."""
    small = [run.fragment for run in runs if run.keys <= LARGE]
    for batch in bands.scan(["key", "row"], fragments=small, batch_size=LARGE) if small else ():
        yield cut((batch["key"].to_numpy(), batch["row"].to_numpy()), bounds)
    for run in runs:
        if run.keys > LARGE:
            start, end = (_place(bands, run, key) for key in (bounds[0], bounds[1] + 1))
            for at in range(start, end, LARGE):
                part = bands.part(run.fragment, ["key", "row"], at, min(LARGE, end - at))
                yield part["key"].to_numpy(), part["row"].to_numpy()


def cut(run: tuple[Hashes, RowIds], bounds: Bounds) -> tuple[Hashes, RowIds]:
    """The part of a run, ascending keys and rows uint64 [n], whose keys lie in a range."""
    part = within(run[0], bounds)
    return run[0][part], run[1][part]


def _place(bands: Snapshot, run: Run, key: int) -> int:
    """How many keys of a run are smaller."""
    low, high = 0, run.keys
    while low < high:
        middle = (low + high) // 2
        if int(bands.part(run.fragment, ["key"], middle, 1)["key"][0].as_py()) < key:
            low = middle + 1
        else:
            high = middle
    return low
