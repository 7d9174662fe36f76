"""Places in shards as places in documents: how many documents there are, and which come first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnemic.arrays import Integers
from mnemic.suffixes.index import SuffixIndex
from mnemic.trace.spans import Candidate


@dataclass(frozen=True, order=True)
class DocumentPlaces:
    """A document with a span ``count`` times, first at its ``token``; the span itself begins ``lead`` letters on."""

    document: str
    token: int
    lead: int
    count: int


def documents_of(index: SuffixIndex, span: Candidate, limit: int) -> tuple[int, list[DocumentPlaces]]:
    """How many documents have ``span``, and the first ``limit`` of them by id."""
    places: dict[tuple[int, int], DocumentPlaces] = {}
    documents = 0
    for number, shard in enumerate(index.shards):
        owners = []
        for (matches, row), lead in zip(span.matches, span.leads, strict=True):
            first, last = int(matches.firsts[number, row, 0]), int(matches.lasts[number, row, 0])
            if first == last:
                continue
            begins = np.sort(shard.places[first:last]).astype(np.int64) - int(matches.lengths[row, 0])
            owner, at, counts = np.unique(shard.document_of(begins + 1), return_index=True, return_counts=True)
            owners.append(owner)
            for document, begin, count in zip(owner[:limit], begins[at[:limit]], counts[:limit], strict=True):
                token = int(begin - shard.offsets[document])
                place = DocumentPlaces(shard.documents[int(document)].as_py(), token, lead, int(count))
                other = places.get((number, int(document)))
                if other is not None:
                    place = replace(min(place, other), count=place.count + other.count)
                places[number, int(document)] = place
        documents += len(np.unique(np.concatenate(owners))) if owners else 0
    return documents, sorted(places.values())[:limit]


class FirstPlaces:
    """Of places in a shard their number ``count``, which ``documents`` have some, bool [documents], and the ``keys``
    of the first ``limit``, int64, ascending.
    """

    def __init__(self, limit: int, documents: int) -> None:
        self.limit, self.count = limit, 0
        self.documents: NDArray[np.bool_] = np.zeros(documents, np.bool_)
        self.keys: Integers = np.empty(0, np.int64)

    def add(self, documents: Integers, keys: Integers) -> None:
        """Places with their ``documents`` and ``keys``, int64 [n] each."""
        self.count += len(keys)
        self.documents[documents] = True
        if self.limit and len(keys):
            keys = np.partition(keys, self.limit - 1)[: self.limit] if len(keys) > self.limit else keys
            self.keys = np.sort(np.concatenate([self.keys, keys]))[: self.limit]
