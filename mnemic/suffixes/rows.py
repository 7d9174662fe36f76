"""A shard as rows of the dataset `suffixes`, some of its tokens and places a row: no value grows with the shard.

The bytes are those that the arrays have in memory, so writing and reading copies them once and computes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.errors import BankError
from mnemic.facts import ADVICE
from mnemic.ids import hash_parts
from mnemic.schema import SUFFIXES
from mnemic.suffixes.shard import Shard, separator_of

PART = 1 << 20
"""Tokens of a row."""

_TYPES: dict[int, type[np.generic]] = {2: np.uint16, 4: np.uint32}


def shard_id(documents: pa.Array, tenant: str, tokenizer: str) -> str:
    """What a shard is: its bytes follow from it."""
    return hash_parts("shard", tenant, tokenizer, "\n".join(documents.to_pylist()))


def rows_of(shard: Shard, tokenizer: str, generation: int) -> pa.Table:
    """The rows of ``shard``, of the schema `mnemic.schema.SUFFIXES`."""
    begins = np.arange(0, max(len(shard.tokens), 1), PART)
    ends = np.append(begins[1:], len(shard.tokens))
    parts = len(begins)
    documents = np.searchsorted(shard.offsets, np.append(begins, len(shard.tokens))).astype(np.int32)
    lists = pa.array(documents, pa.int32())
    columns = {
        "shard": pa.repeat(pa.scalar(shard_id(shard.documents, shard.tenant, tokenizer), pa.string()), parts),
        "part": pa.array(np.arange(parts), pa.int32()),
        "tenant": pa.repeat(pa.scalar(shard.tenant, pa.string()), parts),
        "tokenizer": pa.repeat(pa.scalar(tokenizer, pa.string()), parts),
        "generation": pa.array(np.full(parts, generation), pa.int32()),
        "width": pa.array(np.full(parts, shard.tokens.dtype.itemsize), pa.int32()),
        "size": pa.array(np.full(parts, len(shard.tokens)), pa.int64()),
        "documents": pa.ListArray.from_arrays(lists, shard.documents),
        "offsets": pa.ListArray.from_arrays(lists, pa.array(shard.offsets, pa.int64())),
        "tokens": _pieces(shard.tokens, begins, ends),
        "places": _pieces(shard.places, np.minimum(begins, len(shard)), np.minimum(ends, len(shard))),
    }
    return pa.table([columns[name] for name in SUFFIXES.names], schema=SUFFIXES)


ARRAYS = ("tokens", "places")
"""Columns that are as large as the shard."""


def shard_of(rows: pa.Table) -> Shard:
    """The shard whose rows these are, in any order. Raises ``BankError`` where they are none that mnemic wrote.

    Rows without `ARRAYS` give a shard without tokens and places.
    """
    rows = rows.sort_by("part")
    if rows["part"].to_pylist() != list(range(len(rows))) or len(rows) == 0:
        raise BankError(f"A shard of the suffix index lacks a part. {ADVICE}")
    width, tenant = rows["width"][0].as_py(), rows["tenant"][0].as_py()
    if width not in _TYPES or len(pc.unique(rows["width"])) + len(pc.unique(rows["tenant"])) > 2:
        raise BankError(f"A shard of the suffix index is of several kinds, or its tokens have {width} bytes. {ADVICE}")
    documents = pc.list_flatten(rows["documents"]).combine_chunks()
    offsets = pc.list_flatten(rows["offsets"]).combine_chunks().to_numpy(zero_copy_only=False).astype(np.int64)
    kind = _TYPES[width]
    if not set(ARRAYS) <= set(rows.column_names):
        return Shard(np.empty(0, kind), np.empty(0, np.int32), offsets, documents, tenant)
    tokens, places = _whole(rows["tokens"], kind), _whole(rows["places"], np.int32)
    shard = Shard(tokens, places, offsets, documents, tenant)
    _check(shard)
    return shard


def _check(shard: Shard) -> None:
    """Compiled code reads where these numbers lead, without looking again."""
    tokens, places, offsets = shard.tokens, shard.places, shard.offsets
    separators = np.flatnonzero(tokens == separator_of(tokens.dtype))
    right = (
        len(shard.documents) == len(offsets) == len(separators)
        and len(places) == len(tokens) - len(offsets)
        and np.array_equal(offsets, np.append(0, separators[:-1] + 1) if len(separators) else separators)
        and (not len(tokens) or separators[-1] == len(tokens) - 1)
        and (not len(places) or (places.min() >= 1 and places.max() < len(tokens)))
    )
    if not right:
        raise BankError(f"The places of a shard of the suffix index lead out of its tokens. {ADVICE}")


def _pieces(values: NDArray[Any], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> pa.Array:
    """Adjoining ranges of ``values`` as values of large_binary, which share the memory."""
    contiguous = np.ascontiguousarray(values)
    offsets = np.append(begins, ends[-1]) * contiguous.dtype.itemsize
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(contiguous)]
    return pa.Array.from_buffers(pa.large_binary(), len(begins), buffers)


def _whole(column: pa.ChunkedArray, kind: type[np.generic]) -> NDArray[Any]:
    """The bytes of all values of large_binary in a row, as numbers."""
    parts = []
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        parts.append(np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data is not None else np.empty(0, np.uint8))
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(joined) % np.dtype(kind).itemsize:
        raise BankError(f"A shard of the suffix index is cut off. {ADVICE}")
    return joined.view(kind) if joined.ctypes.data % 4 == 0 else joined.copy().view(kind)
