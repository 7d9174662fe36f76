"""Rows of a dataset whose rows are made of one another: what is above a row goes with it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot


def names_any(column: pa.Array, values: pa.Array) -> pa.Array:
    """Whether a row names one of ``values``, itself or in its list."""
    if not pa.types.is_list(column.type):
        return pc.is_in(column.cast(pa.string()), value_set=values)
    owners = pc.list_parent_indices(column).filter(
        pc.is_in(pc.list_flatten(column).cast(pa.string()), value_set=values)
    )
    return pc.is_in(pa.array(np.arange(len(column)), owners.type), value_set=owners)


def with_above(head: Snapshot, key: str, column: str, keys: pa.Array) -> pa.Array:
    """``keys``, and those of all rows of ``head`` that are made of them: that name one of them in ``column``, or one
    that does, and so on. A pass over both columns for each step up.
    """
    every, fresh = keys, keys
    while len(fresh):
        batches = head.scan([key, column], batch_size=65536)
        named = [batch[key].filter(names_any(batch[column], fresh)) for batch in batches]
        reached = pa.chunked_array(named, pa.string()).unique()
        fresh = reached.filter(pc.invert(pc.is_in(reached, value_set=every)))
        every = pa.chunked_array([every, fresh]).combine_chunks()
    return every
