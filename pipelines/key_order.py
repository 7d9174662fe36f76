"""The places of rows in the order of their key: sorted in memory, or in ranges where there are many.

Sorting in ranges is a sample sort: runs of rows are sorted and written to a file, keys that divide all of them evenly
are taken from a sample, and a range at a time is cut out of every run and sorted. The order is that of one sort of all.
"""

from __future__ import annotations

import mmap
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.dataset import Snapshot
from mnemic.errors import BankError
from pipelines.spill import Appended

RUN = 1 << 20
"""Rows that are sorted at a time."""

PLACE = "_place"
_SAMPLED = 64
"""Keys of a run from which the bounds of ranges are taken."""


def ordered_places(snapshot: Snapshot, key: Sequence[str], where: str | None = None) -> Integers:
    """The places in storage order of the rows that satisfy ``where``, by ascending ``key``, int64 [n]."""
    ordered = Appended(np.int64)
    for rows in _in_ranges(_placed(snapshot, key, where), list(key)):
        ordered.append(rows[PLACE].to_numpy())
    places: Integers = ordered.array()
    return places


def _placed(snapshot: Snapshot, key: Sequence[str], where: str | None) -> Iterator[pa.RecordBatch]:
    """Batches of the columns ``key`` of the rows that satisfy ``where``, each row with its place in storage order."""
    if where is None:
        first = 0
        for batch in snapshot.scan(key, batch_size=65536):
            yield _with_places(batch, np.arange(first, first + batch.num_rows))
            first += batch.num_rows
        return
    every = _numbered(snapshot)
    first, around = next(every, (0, pa.array([], pa.uint64())))
    for batch in snapshot.scan(key, where, row_ids=True, batch_size=65536):
        ids, places = batch["_rowid"], np.empty(batch.num_rows, np.int64)
        done = 0
        while done < len(ids):
            at = pc.index_in(ids.slice(done), value_set=around)
            here = len(at) - at.null_count  # both are in storage order, so those that are here come first
            places[done : done + here] = first + at.slice(0, here).to_numpy()
            done += here
            if done < len(ids):
                first, around = next(every, (0, None))
                if around is None:
                    raise BankError(
                        f"Rows of {snapshot.uri} came in another order than they are stored in. Build again; where "
                        "that does not help, `mnemic verify BANK --deep` says whether a file has changed."
                    )
        yield _with_places(batch.select(list(key)), places)


def _numbered(snapshot: Snapshot) -> Iterator[tuple[int, pa.Array]]:
    """Row ids of all rows in storage order, each batch with the place of its first."""
    first = 0
    for batch in snapshot.scan([], row_ids=True, batch_size=65536):
        yield first, batch["_rowid"]
        first += batch.num_rows


def _with_places(batch: pa.RecordBatch, places: Integers) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array(places, pa.int64())], [*batch.schema.names, PLACE])


def _in_ranges(batches: Iterable[pa.RecordBatch], key: list[str]) -> Iterator[pa.Table]:
    """All rows of ``batches`` by ascending ``key``, a range at a time."""
    runs: _Runs | None = None
    waiting, count = list[pa.RecordBatch](), 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= RUN:
            runs = runs or _Runs(key, batch.schema)
            runs.add(_sorted(pa.Table.from_batches(waiting), key))
            waiting, count = [], 0
    rest = _sorted(pa.Table.from_batches(waiting), key) if waiting else None
    if runs is None:
        yield from [] if rest is None else [rest]
        return
    if rest is not None:
        runs.add(rest)
    yield from runs.ranges()


def _sorted(rows: pa.Table, key: list[str]) -> pa.Table:
    return rows.take(pc.sort_indices(rows, sort_keys=[(column, "ascending") for column in key]))


class _Runs:
    """Sorted runs of rows in a file without a name."""

    def __init__(self, key: list[str], schema: pa.Schema) -> None:
        self._key = key
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the runs
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), schema)
        self._samples: list[pa.Table] = []
        self._rows = 0

    def add(self, run: pa.Table) -> None:
        self._writer.write_batch(run.combine_chunks().to_batches()[0])
        drawn = np.linspace(0, len(run) - 1, min(_SAMPLED, len(run))).astype(np.int64)
        self._samples.append(run.select(self._key).take(drawn))
        self._rows += len(run)

    def ranges(self) -> Iterator[pa.Table]:
        """The rows of all runs in order, about `RUN` of them at a time."""
        self._writer.close()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped)))
        runs = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        samples = _sorted(pa.concat_tables(self._samples), self._key)
        count = -(-self._rows // RUN)
        bounds = samples.take(np.arange(1, count) * len(samples) // count)
        keys = list(zip(*(bounds[column].to_pylist() for column in self._key), strict=True))
        cuts = [[0, *(bisect_left(_KeysOf(run, self._key), bound) for bound in keys), run.num_rows] for run in runs]
        for number in range(count):
            parts = [run.slice(cut[number], cut[number + 1] - cut[number]) for run, cut in zip(runs, cuts, strict=True)]
            yield _sorted(pa.Table.from_batches(parts), self._key)


@dataclass(frozen=True)
class _KeysOf:
    """The keys of a sorted run, as `bisect` asks for them."""

    run: pa.RecordBatch
    key: list[str]

    def __len__(self) -> int:
        return int(self.run.num_rows)

    def __getitem__(self, place: int) -> tuple[Any, ...]:
        return tuple(self.run[column][place].as_py() for column in self.key)
