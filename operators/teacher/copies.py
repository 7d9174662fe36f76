"""Documents so alike that they must not vote for one another.

Deduplication keeps documents that are half the same. One of them beside the other in the store teaches copying as the
document itself would (MemoryDecoder's "trivial retrieval", at the scale of documents). Its judged pairs name them:
documents that pairs connect are one group, and a group is masked by its number, as a document is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from operators.teacher.store import places_of


@dataclass(frozen=True)
class Groups:
    """``ids`` of documents, and the group int64 [n] of each: the place of its first member."""

    ids: pa.Array
    group: NDArray[np.int64]

    @classmethod
    def of(cls, documents: pa.Array, pairs: pa.Table) -> Groups:
        """The groups of ``documents`` and all others that ``pairs`` (document, other) name, in any order of pairs."""
        ids = pa.chunked_array([documents, *pairs["document"].chunks, *pairs["other"].chunks]).unique()
        one, other = (places_of(pairs[name].combine_chunks(), ids) for name in ("document", "other"))
        return cls(ids, _components(len(ids), one, other))

    def numbers(self, column: pa.Array) -> NDArray[np.int64]:
        """The groups of documents by their ids, int64 [n]; -1 for ids that `ids` does not have."""
        place = places_of(column, self.ids)
        return np.where(place < 0, -1, self.group[place])

    @property
    def alike(self) -> int:
        """Documents that are in a group with another one."""
        sizes = np.bincount(self.group)
        return int(sizes[sizes > 1].sum())


def _components(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest number that each of ``count`` is connected with by edges (one, other) int64 [m]: int64 [count]."""
    label = np.arange(count)
    while True:
        least = np.minimum(label[one], label[other])
        before = label.copy()
        np.minimum.at(label, label[one], least)  # the roots of both ends fall together
        np.minimum.at(label, label[other], least)
        label = label[label]
        if (label == before).all():
            return label
