"""`mnemic digest`: the content hash of a bank, equal for equal banks.

For every dataset, the rows are sorted by their key and each column is hashed on its own, one column in memory at a
time. Run ids, times of building and the bookkeeping of sources are left out, so that the order of work, the number of
workers and restarts cannot show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import DatasetSpec, in_order, spec_of
from mnemic.dataset.snapshot import Snapshot


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
    for field in sorted(snapshot.schema, key=lambda field: field.name):
        if field.name in spec.bookkeeping:
            continue
        column = snapshot.table([field.name], spec.counted)[field.name].take(order)
        state.update(f"{field.name}:{field.type}:{len(column)};".encode())
        for chunk in column.chunks:
            _hash_array(state, chunk)
    return state.hexdigest()


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
