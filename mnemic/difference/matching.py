"""Rows of two sides that have equal keys, found without holding all keys: exactly, also where keys are hostile.

Keys are dealt into buckets by a sum over their bytes, which are equal for equal keys; a bucket at a time is matched.
Small sides have one bucket, and large ones as many as keep each in memory, on the disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from mnemic.arrays import Integers, RowIds

IN_HAND = 1 << 20
"""Rows of both sides that a bucket should have at most."""

MOST_BUCKETS = 256
"""Files that are open at the same time for a side."""

ROW = "_rowid"


@dataclass(frozen=True)
class MatchedRows:
    """Row ids of one bucket: pairs with equal keys, uint64 [pairs] each, and the rows that one side has alone.

    ``removed`` and ``added`` hold the keys and `_rowid` of these.
    """

    left: RowIds
    right: RowIds
    removed: pa.Table
    added: pa.Table


def match(
    left: Iterable[pa.RecordBatch], right: Iterable[pa.RecordBatch], key: Sequence[str], rows: int
) -> Iterator[MatchedRows]:
    """The matches of two sides, batches of the columns ``key`` and `_rowid`; ``rows`` is about how many there are.

    Rows of a side with equal keys are matched in the order of the side.
    """
    count = min(MOST_BUCKETS, -(-rows // IN_HAND))
    if count <= 1:
        yield _matched(_whole(left), _whole(right), key)
        return
    with tempfile.TemporaryDirectory(prefix="mnemic-diff-") as folder:
        places = [Path(folder, side) for side in ("left", "right")]
        for place, batches in zip(places, (left, right), strict=True):
            place.mkdir()
            _deal(batches, key, place, count)
        for number in range(count):
            yield _matched(_read(places[0] / str(number)), _read(places[1] / str(number)), key)


def _deal(batches: Iterable[pa.RecordBatch], key: Sequence[str], place: Path, count: int) -> None:
    """Write the rows of each bucket into a file of its own."""
    writers: dict[int, pa.RecordBatchFileWriter] = {}
    with ExitStack() as stack:
        for batch in batches:
            buckets = _buckets(batch, key, count)
            order = np.argsort(buckets, kind="stable")
            ends = np.searchsorted(buckets[order], np.arange(count + 1))
            for number in np.unique(buckets).tolist():
                if number not in writers:
                    writers[number] = stack.enter_context(pa.ipc.new_file(str(place / str(number)), batch.schema))
                writers[number].write_batch(batch.take(pa.array(order[ends[number] : ends[number + 1]])))


def _whole(batches: Iterable[pa.RecordBatch]) -> pa.Table | None:
    rows = list(batches)
    return pa.Table.from_batches(rows) if rows else None


def _read(file: Path) -> pa.Table | None:
    return pa.ipc.open_file(str(file)).read_all() if file.exists() else None


def _buckets(batch: pa.RecordBatch, key: Sequence[str], count: int) -> Integers:
    """The bucket of each row, int64 [rows]: the sum of the bytes of its texts and of its numbers."""
    sums = np.zeros(batch.num_rows, np.int64)
    for name in key:
        column = batch[name]
        if pa.types.is_integer(column.type):
            sums += column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            strings = column.fill_null("").cast(pa.large_binary())
            _, offsets, data = strings.buffers()
            ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
            values = np.frombuffer(data, np.uint8)[: ends[-1]] if data is not None else np.zeros(0, np.uint8)
            before = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
            sums += before[ends[1:]] - before[ends[:-1]]
    return sums % count


def _matched(left: pa.Table | None, right: pa.Table | None, key: Sequence[str]) -> MatchedRows:
    if left is None or right is None:
        side = right if left is None else left
        none = np.empty(0, np.uint64)
        if side is None:
            side = pa.table({ROW: pa.array([], pa.uint64())})
        removed, added = side if right is None else side.slice(0, 0), side if left is None else side.slice(0, 0)
        return MatchedRows(none, none, removed, added)
    numbers = _numbers(left, right, key)
    mine, other = numbers[: len(left)], numbers[len(left) :]
    shared, at_left, at_right = np.intersect1d(mine, other, assume_unique=True, return_indices=True)
    rows, rows_right = (side[ROW].to_numpy() for side in (left, right))
    removed = np.flatnonzero(~np.isin(mine, shared, assume_unique=True))
    added = np.flatnonzero(~np.isin(other, shared, assume_unique=True))
    order = np.argsort(rows[at_left], kind="stable")  # so that the left side is read as it lies
    return MatchedRows(
        rows[at_left][order],
        rows_right[at_right][order],
        left.take(pa.array(removed)),
        right.take(pa.array(added)),
    )


def _numbers(left: pa.Table, right: pa.Table, key: Sequence[str]) -> Integers:
    """A number for each row of both sides, int64 [left + right]: equal across sides for equal keys, else different."""
    total = len(left) + len(right)
    numbers = np.zeros(total, np.int64)
    for name in key:
        parts = [*left[name].chunks, *right[name].cast(left[name].type).chunks]
        codes = pa.chunked_array(parts).combine_chunks().dictionary_encode("encode")
        indices = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        _, numbers = np.unique(numbers * total + indices, return_inverse=True)
    sides = (slice(0, len(left)), slice(len(left), total))
    times = np.concatenate([_times(numbers[side]) for side in sides])
    _, numbers = np.unique(numbers * (total + 1) + times, return_inverse=True)
    return numbers.astype(np.int64)


def _times(numbers: Integers) -> Integers:
    """How often each number stood before, int64 [n]."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    first = np.searchsorted(ordered, ordered)
    times = np.empty(len(numbers), np.int64)
    times[order] = np.arange(len(numbers)) - first
    return times
