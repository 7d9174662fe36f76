"""Columns that another dataset has of the inputs of a step: looked up by the input's id, null where there is no row.

A worker holds 24 bytes of each row of that dataset, so that it need not be searched for every fragment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from operators.sections import Lookup
from pipelines.corpus_reader import key_hashes


class LookedUp:
    """The columns of ``lookups``, of datasets that stand as the recipe has them; of others they are left out."""

    def __init__(self, store: Store, lookups: Sequence[Lookup]) -> None:
        self._tables = []
        for lookup in lookups:
            snapshot = store[lookup.dataset].snapshot()
            if snapshot is not None and (snapshot.record or {}).get("fingerprint") == lookup.fingerprint:
                self._tables.append(_Rows(snapshot, lookup))

    def beside(self, batch: pa.RecordBatch, key: str) -> pa.RecordBatch:
        """``batch`` with these columns, for the inputs that its column ``key`` names."""
        for rows in self._tables:
            for name, values in rows.of(batch.select([key])).items():
                batch = batch.append_column(name, values)
        return batch


class _Rows:
    def __init__(self, snapshot: Snapshot, lookup: Lookup) -> None:
        self.snapshot, self.columns = snapshot, lookup.columns
        hashes, numbers = [np.empty(0, "S16")], [np.empty(0, np.uint64)]
        for batch in snapshot.scan([lookup.key], row_ids=True, batch_size=65536):
            hashes.append(_hashes(batch.select([lookup.key])))
            numbers.append(batch["_rowid"].to_numpy())
        unordered = np.concatenate(hashes)
        order = np.argsort(unordered, kind="stable")
        self.hashes, self.numbers = unordered[order], np.concatenate(numbers)[order]

    def of(self, keys: pa.RecordBatch) -> dict[str, pa.Array]:
        hashes = _hashes(keys)
        places = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
        there = self.hashes[places] == hashes if len(self.hashes) else np.zeros(len(hashes), np.bool_)
        row = np.cumsum(there) - 1
        rows = self.snapshot.take_rows(self.numbers[places[there]], self.columns) if there.any() else None
        indices = pa.array(row, mask=~there)
        return {
            name: pa.nulls(len(hashes), self.snapshot.schema.field(name).type)
            if rows is None
            else rows[name].combine_chunks().take(indices)
            for name in self.columns
        }


def _hashes(keys: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    return np.ascontiguousarray(key_hashes(keys)).view("S16").reshape(-1)
