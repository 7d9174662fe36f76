"""`mnemic digest`: the content hash of a bank, equal for equal banks.

For every dataset, the rows are sorted by their key and each column is hashed on its own; of a large dataset one column
is in memory at a time. Run ids, times of building and the bookkeeping of sources are left out, so that the order of
work, the number of workers and restarts cannot show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import DatasetSpec, in_order, spec_of
from mnemic.dataset.snapshot import Snapshot

TOGETHER = 16 << 20
"""Bytes of files up to which all columns of a dataset are read in one scan, as each takes milliseconds or a request."""


def digest_datasets(snapshots: Mapping[str, Snapshot]) -> dict[str, str]:
    """Hash per dataset and, under "bank", the hash of all of them: 32 hexadecimal characters each.

    A dataset without rows counts as one that is not there: a bank from which everything was taken equals a new one.
    """
    digests = {}
    for name in in_order(snapshots):
        spec = spec_of(name, snapshots[name].schema)
        if spec.digested and snapshots[name].count(spec.counted):
            digests[name] = digest_dataset(spec, snapshots[name])
    total = hashlib.blake2b(digest_size=16)
    for name, value in digests.items():
        total.update(f"{name}={value};".encode())
    return {**digests, "bank": total.hexdigest()}


def digest_dataset(spec: DatasetSpec, snapshot: Snapshot) -> str:
    keys = snapshot.table(spec.key, spec.counted)
    order = pc.sort_indices(keys, sort_keys=[(column, "ascending") for column in spec.key])
    state = hashlib.blake2b(digest_size=16)
    names = sorted(name for name in snapshot.schema.names if name not in spec.bookkeeping)
    for name, values in zip(names, _columns(snapshot, names, spec.counted), strict=True):
        column = values.take(order)
        state.update(f"{name}:{snapshot.schema.field(name).type}:{len(column)};".encode())
        for chunk in column.chunks:
            _hash_array(state, chunk)
    return state.hexdigest()


def _columns(snapshot: Snapshot, names: list[str], where: str | None) -> Iterator[pa.ChunkedArray]:
    if 0 < snapshot.data_bytes <= TOGETHER:
        yield from snapshot.table(names, where).columns
    else:
        for name in names:
            yield snapshot.table([name], where)[name]


def _hash_array(state: Any, array: pa.Array) -> None:
    """Feed an array's values into ``state``, independent of offsets, padding and the bytes under nulls."""
    if array.null_count:
        state.update(b"nulls")
        state.update(pa.array(array.is_null()).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
        array = array.drop_null()
    if not len(array):
        return
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        _hash_array(state, array.flatten())
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _hash_array(state, pc.list_value_length(array).cast(pa.int64()))
        _hash_array(state, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        _hash_array(state, pc.binary_length(array).cast(pa.int64()))
        data = pa.concat_arrays([array]).cast(pa.large_binary()).buffers()
        offsets = memoryview(data[1]).cast("q")[array.offset : array.offset + len(array) + 1]
        state.update(memoryview(data[2])[offsets[0] : offsets[-1]] if data[2] else b"")
    elif pa.types.is_struct(kind):
        for field in array.flatten():
            _hash_array(state, field)
    elif pa.types.is_boolean(kind):
        _hash_array(state, array.cast(pa.uint8()))
    elif pa.types.is_timestamp(kind):
        _hash_array(state, array.cast(pa.int64()))
    else:
        state.update(array.to_numpy(zero_copy_only=False).tobytes())
