"""Rows that stand in memory, asked a condition as rows of a dataset are: by Lance itself, so that it means the same."""

from __future__ import annotations

import uuid

import lance
import numpy as np
import pyarrow as pa

from mnemic.arrays import Flags
from mnemic.dataset.failures import reading
from mnemic.dataset.snapshot import FILE_VERSION

_PLACE = "_place"


def satisfying(rows: pa.Table, where: str) -> Flags:
    """Whether each row satisfies ``where``, SQL of mnemic's own, or written by it: bool [n]."""
    flags: Flags = np.zeros(len(rows), np.bool_)
    if not len(rows):
        return flags
    numbered = rows.append_column(_PLACE, pa.array(np.arange(len(rows), dtype=np.int64)))
    place = f"memory://{uuid.uuid4().hex}"
    with reading(place, where):
        dataset = lance.write_dataset(numbered, place, data_storage_version=FILE_VERSION)
        places = dataset.to_table(columns=[_PLACE], filter=where)[_PLACE].to_numpy()
    flags[places] = True
    return flags
