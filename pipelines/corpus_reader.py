"""The rows of a dataset in the order of their key, for operators that look at all of them; and their digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot
from mnemic.ids import hash_parts
from mnemic.splitmix import GAMMA, finalised
from pipelines.key_order import ordered_places

_LOOKED_UP = 1 << 20  # row ids at once
_BLOCK = 16  # bytes of a string that are mixed in at once
_DIGESTS: WeakKeyDictionary[Snapshot, dict[tuple[tuple[str, ...], str | None], tuple[str, int]]] = WeakKeyDictionary()
"""Snapshot -> (key, condition) -> the digest of its rows, and their number."""


class KeyOrder:
    """Implements ``operators.contracts.Corpus`` over a snapshot, by the places of its rows (`pipelines.key_order`).

    ``tables`` read what stands beside the rows, by name.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        key: Sequence[str],
        where: str | None = None,
        tables: Mapping[str, Callable[[], pa.Table]] | None = None,
    ) -> None:
        self._snapshot, self._tables = snapshot, tables or {}
        self._positions = ordered_places(snapshot, key, where)

    def __len__(self) -> int:
        return len(self._positions)

    def batches(self, columns: Sequence[str], size: int = 8192) -> Iterator[pa.RecordBatch]:
        for start in range(0, len(self), size):
            table = self._snapshot.take(self._positions[start : start + size], columns)
            yield from table.combine_chunks().to_batches()

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        return self._snapshot.take(self._positions[np.asarray(positions, dtype=np.int64)], columns)

    def table(self, name: str) -> pa.Table:
        return self._tables[name]()


class RowOrder:
    """Implements ``operators.contracts.RowCorpus`` over a snapshot, by Lance's row ids; nothing is held in memory.

    ``earlier`` is the snapshot of the newest release whose ``column`` still holds, but for the rows in ``again``.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        column: str,
        earlier: Snapshot | None = None,
        again: Sequence[int] | np.ndarray[Any, Any] = (),
    ) -> None:
        self._snapshot, self._column, self._earlier = snapshot, column, earlier
        self._again = pa.array(again, pa.uint64())

    def __len__(self) -> int:
        return self._snapshot.count()

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[np.ndarray[Any, Any], pa.RecordBatch]]:
        for batch in self._snapshot.scan(columns, row_ids=True):
            yield batch["_rowid"].to_numpy(), batch

    def take_rows(self, numbers: np.ndarray[Any, Any], columns: Sequence[str]) -> pa.Table:
        return self._snapshot.take_rows(numbers, columns)

    def earlier(self, numbers: np.ndarray[Any, Any]) -> pa.Array | None:
        if self._earlier is None:
            return None
        earlier = self._earlier.take_rows(numbers, [self._column])
        earlier = earlier.filter(pc.invert(pc.is_in(earlier["_rowid"], value_set=self._again)))
        place = pc.index_in(pa.array(numbers, pa.uint64()), value_set=earlier["_rowid"].combine_chunks())
        return earlier[self._column].combine_chunks().take(place)

    def dropped(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if "decision" not in self._snapshot.schema.names:
            return np.zeros(len(numbers), np.bool_)
        rules = self._snapshot.take_rows(numbers, ["decision"])["decision"].combine_chunks().field("rule")
        return np.asarray(pc.fill_null(pc.not_equal(rules, ""), False), np.bool_)

    def there(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Whether the rows with these ``numbers``, uint64 [n], are in the snapshot, bool [n]."""
        distinct = np.unique(numbers)
        lots = [distinct[start : start + _LOOKED_UP] for start in range(0, len(distinct), _LOOKED_UP)]
        there = [self._snapshot.take_rows(lot, [])["_rowid"].to_numpy() for lot in lots]
        return np.isin(numbers, np.concatenate([distinct[:0], *there]))


def corpus_digest(snapshot: Snapshot, key: Sequence[str], where: str | None = None) -> tuple[str, int]:
    """Digest of the set of keys and their number, independent of storage order, in one streaming pass.

    Each row's key is hashed to 128 bits and the hashes are added up: equal sets give equal sums in any order. Steps
    that share a corpus ask for the same digest of the same snapshot, which never changes, so each is made once.
    """
    digests = _DIGESTS.setdefault(snapshot, {})
    if (tuple(key), where) not in digests:
        digests[tuple(key), where] = _digest(snapshot, key, where)
    return digests[tuple(key), where]


def _digest(snapshot: Snapshot, key: Sequence[str], where: str | None) -> tuple[str, int]:
    total = np.zeros(2, dtype=np.uint64)
    rows = 0
    for batch in snapshot.scan(list(key), where, batch_size=65536):
        total += key_hashes(batch).sum(axis=0, dtype=np.uint64)
        rows += batch.num_rows
    return hash_parts("rows", rows, int(total[0]), int(total[1])), rows


def key_hashes(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """A 128-bit hash of the values of each row, uint64 [rows, 2]."""
    mixed = np.zeros((batch.num_rows, 2), dtype=np.uint64)
    for column in batch.columns:
        mixed = _mix(mixed + _words(column))
    return mixed


def table_digest(rows: pa.Table) -> str:
    """Digest of a table of strings, in the order of its rows."""
    return hash_parts("table", len(rows), *("\n".join(column.to_pylist()) for column in rows.columns))


def _words(column: pa.Array) -> np.ndarray[Any, Any]:
    """Two 64-bit words per value: of the characters of a string (any length), of an integer, or of null."""
    if column.null_count:
        words = _words(column.fill_null(pa.scalar("" if pa.types.is_string(column.type) else 0, column.type)))
        words[column.is_null().to_numpy(zero_copy_only=False)] = GAMMA
        return words
    if pa.types.is_string(column.type):
        blocks = _even_blocks(column)
        if blocks is not None:
            words = np.full((len(column), 2), blocks.shape[1] * _BLOCK, np.uint64)
            for block in range(blocks.shape[1]):
                words = _mix(words + blocks[:, block])
            return words
        dictionary = column.dictionary_encode()
        sizes = pc.binary_length(dictionary.dictionary).to_numpy(zero_copy_only=False).astype(np.int64)
        width = -(-max(int(sizes.max(initial=1)), 1) // _BLOCK) * _BLOCK
        values = np.array(dictionary.dictionary.cast(pa.binary()).to_pylist(), dtype=f"S{width}")
        blocks = values.view(np.uint64).reshape(len(values), width // _BLOCK, 2)
        words = np.repeat(sizes.astype(np.uint64)[:, None], 2, axis=1)
        for block in range(blocks.shape[1]):  # a value's own blocks only: its neighbours' lengths must not show
            has = sizes > block * _BLOCK
            words[has] = _mix(words[has] + blocks[has, block])
        picked: np.ndarray[Any, Any] = words[dictionary.indices.to_numpy()]
        return picked
    numbers = column.to_numpy(zero_copy_only=False).astype(np.uint64)
    return np.stack([numbers, numbers ^ GAMMA], axis=1)


def _even_blocks(column: pa.Array) -> np.ndarray[Any, Any] | None:
    """The bytes of strings of one length, as ids are, uint64 [rows, blocks, 2]; None for others, and for nulls."""
    if column.null_count or len(column) == 0:
        return None
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    width = int(offsets[1] - offsets[0])
    if width == 0 or width % _BLOCK or not (np.diff(offsets) == width).all():
        return None
    data = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    return np.ascontiguousarray(data).view(np.uint64).reshape(len(column), width // _BLOCK, 2)


def _mix(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The finaliser of splitmix64, with the two words fed into one another."""
    words = words + words[:, ::-1] * np.uint64(0xD6E8FEB86659FD93)
    mixed: np.ndarray[Any, Any] = finalised(words)
    return mixed
