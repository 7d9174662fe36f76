"""The content words of the smallest rows of a release, in the memory of a process that answers many searches.

Rows and words are numbers: a row takes about 20 bytes, and 8 for each of its words. A word of one tenant has another
number than the same word of another, so nothing that is computed of numbers crosses a tenant. They are read when a
search first walks over words (`mnemic.search.walk`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers, RowIds
from mnemic.dataset import Snapshot
from mnemic.search.condition import of_level
from mnemic.search.words import content_root
from mnemic.words import UNSPACED_RANGES

MOST_ROWS = 50_000
"""Rows of `events` up to which the words of the smallest ones are held."""

MOST_BYTES = 32 << 20
"""Of all words that are held of a release."""

COLUMNS = ("id", "tenant", "next", "text")

_AT_ONCE = 1 << 12
"""Rows that are cut into words at once."""

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True)
class RowWords:
    """Rows in the order of their ids; ``numbers`` [n] are their row ids.

    Row k has the words ``words[first[k] : first[k + 1]]``, ascending, each as often as ``counts`` says; ``tenants`` [n]
    are numbers, and ``following`` [n] the places of the rows behind, -1 for none. Equal rows give equal numbers, in
    whatever order and batches they are read.
    """

    numbers: RowIds
    tenants: Numbers
    following: Numbers
    first: Integers
    words: Numbers
    counts: Numbers

    @classmethod
    def read(cls, events: Snapshot) -> RowWords | None:
        """Of the smallest rows of ``events``; None where they are too many, or have too many words."""
        if events.rows_of_manifest > MOST_ROWS:
            return None
        leaves = of_level(None, None, events.schema.names)
        return cls.of_batches(events.scan(COLUMNS, leaves, row_ids=True, batch_size=_AT_ONCE))

    @classmethod
    def of_batches(cls, batches: Iterable[pa.RecordBatch]) -> RowWords | None:
        """``batches`` have `COLUMNS` and `_rowid`, each row once; None where they take more than `MOST_BYTES`."""
        facts, entries, vocabulary = list[pa.RecordBatch](), [np.empty((3, 0), np.int64)], dict[str, int]()
        rows = size = 0
        for batch in batches:
            facts.append(batch.select(["id", "tenant", "next", "_rowid"]))
            entries.append(_counted(batch["text"], rows, vocabulary))
            rows += len(batch)
            size += 20 * len(batch) + 8 * entries[-1].shape[1]
            if size > MOST_BYTES:
                return None
        if not rows:
            return None
        _, rank = np.unique(list(vocabulary), return_inverse=True) if vocabulary else ([], np.empty(0, np.int64))
        of_rows, words, counts = np.hstack(entries)
        return cls._of(pa.Table.from_batches(facts), of_rows, rank[words], counts)

    @classmethod
    def _of(cls, facts: pa.Table, rows: Integers, words: Integers, counts: Integers) -> RowWords:
        """``facts`` [n] of rows; ``words`` [m], numbers in the order of the alphabet, of some of the ``rows`` [m]."""
        ids = _bytes(facts["id"])
        by_id = np.argsort(ids, kind="stable")
        place = np.empty(len(ids), np.int64)
        place[by_id] = np.arange(len(ids))
        ids, following = ids[by_id], _bytes(facts["next"])[by_id]
        at = np.minimum(np.searchsorted(ids, following), len(ids) - 1)
        tenants = pc.rank(facts["tenant"].combine_chunks(), tiebreaker="dense").to_numpy()[by_id].astype(np.int64) - 1
        rows = place[rows]
        words = np.unique(tenants[rows] * (int(words.max(initial=0)) + 1) + words, return_inverse=True)[1]
        order = np.lexsort((words, rows))
        return cls(
            facts["_rowid"].to_numpy()[by_id],
            tenants.astype(np.int32),
            np.where(ids[at] == following, at, -1).astype(np.int32),
            np.searchsorted(rows[order], np.arange(len(ids) + 1)),
            words[order].astype(np.int32),
            counts[order].astype(np.int32),
        )

    @property
    def nbytes(self) -> int:
        arrays = (self.numbers, self.tenants, self.following, self.first, self.words, self.counts)
        return sum(array.nbytes for array in arrays)

    def among(self, numbers: RowIds) -> Integers:
        """The places of those of the rows ``numbers`` that are there, ascending."""
        return np.flatnonzero(np.isin(self.numbers, numbers))


def _counted(texts: pa.Array, before: int, vocabulary: dict[str, int]) -> Integers:
    """Row, counted from ``before`` on, word and count of each content word of each of ``texts`` once, int64 [3, m].

    Words have their numbers in the ``vocabulary``, which gets those that it lacks.
    """
    pieces = _pieces(texts.cast(pa.large_string()))
    rows = pc.list_parent_indices(pieces).to_numpy().astype(np.int64)
    coded = pieces.flatten().dictionary_encode()
    roots = [content_root(piece) for piece in coded.dictionary.to_pylist()]
    numbers = np.array([vocabulary.setdefault(root, len(vocabulary)) if root else -1 for root in roots], np.int64)
    words = numbers[coded.indices.to_numpy()]
    rows, words = rows[words >= 0], words[words >= 0]
    size = max(len(vocabulary), 1)
    pairs, counts = np.unique(rows * size + words, return_counts=True)
    return np.array([pairs // size + before, pairs % size, counts], np.int64)


def _pieces(texts: pa.Array) -> pa.Array:
    """The words of ``texts`` in small letters, as `mnemic.links.names.words` cuts them, and empty ones: lists."""
    lowered = pc.utf8_lower(texts)
    if not pc.all(pc.string_is_ascii(lowered)).as_py():
        lowered = pc.replace_substring_regex(lowered, f"([{UNSPACED_RANGES}])", r" \1 ")
    return pc.split_pattern_regex(lowered, rf"[^\pL\pN_{UNSPACED_RANGES}]+")


def _bytes(column: pa.ChunkedArray) -> npt.NDArray[np.bytes_]:
    encoded = column.combine_chunks().cast(pa.binary()).to_numpy(zero_copy_only=False)
    fixed: npt.NDArray[np.bytes_] = encoded.astype("S")
    return fixed
