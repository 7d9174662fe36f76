"""Deduplication as it is timed: a corpus in memory, the verified way and the Bloom filters' way over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.schema import TIME
from operators.deduplicate import Deduplicate, Signature
from operators.deduplicate.bands import by_band, keys_of, run_of
from operators.deduplicate.bloom import BloomFilter, share_of_error
from operators.deduplicate.shingles import Shingler, slices

PERMUTATIONS, BANDS, ROWS = 128, 16, 8
"""Of a signature, for the filters and for the peers."""


class InMemory:
    """A corpus of Arrow columns, as `Deduplicate` reads it; signatures are made of the texts."""

    def __init__(self, ids: pa.Array, texts: pa.Array, signature: Signature) -> None:
        sign = signature.open("cpu")
        signed = [sign(pa.record_batch({"text": part}))[0] for part in slices(texts, 1 << 25)]
        signatures = pa.Table.from_batches(signed)
        none = pa.array([""]).take(pa.array(np.zeros(len(ids), np.int8)))
        columns = {"id": ids, "tenant": none, "content": ids, "time": pa.nulls(len(ids), TIME)}
        columns |= {"length": pc.cast(pc.utf8_length(texts), pa.int64()), "text": texts}
        self.table = pa.table({**columns, **{name: signatures[name] for name in signatures.column_names}})

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        start = 0
        for batch in self.table.select(list(columns)).to_batches(8192):
            yield np.arange(start, start + len(batch), dtype=np.uint64), batch
            start += len(batch)

    def take_rows(self, numbers: np.ndarray, columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns)).take(pa.array(np.asarray(numbers, np.int64)))

    def dropped(self, numbers: np.ndarray) -> np.ndarray:
        return np.zeros(len(numbers), np.bool_)

    def earlier(self, numbers: np.ndarray) -> None:
        return None


def verified(ids: pa.Array, texts: pa.Array) -> None:
    """From text to verified decision."""
    Deduplicate().fit(InMemory(ids, texts, Signature()), "cpu", lambda done, total: None)


def bloom_only(ids: pa.Array, texts: pa.Array) -> None:
    """From text to flags by one Bloom filter a band, in one pass."""
    filters = [BloomFilter(len(texts), share_of_error(1e-5, BANDS)) for _ in range(BANDS + 1)]
    for part in slices(texts, 1 << 22):
        forms, signatures = Shingler().signatures(part, PERMUTATIONS, 1)
        rows = np.arange(len(part), dtype=np.uint64)
        keys = keys_of(forms, signatures, np.zeros(len(part), np.uint64), BANDS, ROWS)
        flags = np.zeros(len(part), np.bool_)
        mine, owners = run_of(keys, rows, ascending=False)
        for band, place in by_band(mine):
            flags[owners[place][filters[band].add(mine[place])]] = True
