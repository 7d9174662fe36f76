"""The sentences of a document: which rows of `units` are its, and their texts and vectors.

The numbers of the rows stand in memory, 12 bytes a unit, so that reading some documents' sentences looks at no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Floats, Integers, RowIds
from mnemic.dataset import Snapshot
from mnemic.dataset.index import read_wide
from mnemic.links.titles import Titles
from mnemic.vectors import vectors

_AT_ONCE = 1 << 18
"""Rows of `units` that are placed at once."""


@dataclass(frozen=True)
class UnitRows:
    """The units of the document at place p are those from ``first[p]`` to ``first[p + 1]``, in its order.

    ``ordinals`` int32 [n] and ``rows`` uint64 [n], their row ids, are of all units.
    """

    units: Snapshot
    first: Integers
    ordinals: npt.NDArray[np.int32]
    rows: RowIds

    @classmethod
    def of(cls, units: Snapshot, titles: Titles) -> UnitRows:
        places, ordinals, rows = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
        for batch in units.scan(["document", "ordinal"], row_ids=True, batch_size=_AT_ONCE):
            documents = batch["document"].dictionary_encode()
            at = titles.places(documents.dictionary.to_pylist())[documents.indices.to_numpy()].astype(np.int32)
            there = at >= 0
            places.append(at[there])
            ordinals.append(batch["ordinal"].to_numpy()[there])
            rows.append(batch["_rowid"].to_numpy()[there])
        place, ordinal, row = np.concatenate(places), np.concatenate(ordinals), np.concatenate(rows)
        order = np.lexsort((ordinal, place))
        first = np.searchsorted(place[order], np.arange(len(titles.ids) + 1))
        return cls(units, first, ordinal[order], row[order])

    def within(self, place: int, first: int, end: int) -> RowIds:
        """Row ids of the units of the document at ``place`` with ordinals from ``first`` to before ``end``."""
        begin, stop = int(self.first[place]), int(self.first[place + 1])
        low, high = np.searchsorted(self.ordinals[begin:stop], (first, end))
        return self.rows[begin + low : begin + high]

    def texts(self, groups: Sequence[RowIds]) -> list[list[str]]:
        """For each group of row ids the texts."""
        numbers = np.concatenate([*groups, np.empty(0, np.uint64)])
        distinct, back = np.unique(numbers, return_inverse=True)
        texts = read_wide(self.units, distinct, ["text"])["text"].take(pa.array(back)).to_pylist()
        ends = np.cumsum([len(group) for group in groups])
        return [texts[end - len(group) : end] for group, end in zip(groups, ends.tolist(), strict=True)]

    def read(self, groups: Sequence[RowIds], vector: Floats) -> list[tuple[list[str], list[float]]]:
        """For each group of row ids the texts, and their cosines to ``vector`` [d], of length 1."""
        numbers = np.concatenate([*groups, np.empty(0, np.uint64)])
        if not len(numbers):
            return [([], []) for _ in groups]
        distinct, back = np.unique(numbers, return_inverse=True)
        table = read_wide(self.units, distinct, ["text", "embedding"])
        stored = vectors(table["embedding"], np.float64)
        lengths = np.linalg.norm(stored, axis=1)
        cosines = (stored @ vector / np.where(lengths > 0, lengths, 1.0))[back]
        texts = table["text"].to_pylist()
        ends = np.cumsum([len(group) for group in groups])
        return [
            ([texts[one] for one in back[end - len(group) : end].tolist()], cosines[end - len(group) : end].tolist())
            for group, end in zip(groups, ends.tolist(), strict=True)
        ]
