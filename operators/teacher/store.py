"""The keys of the datastore's store, read in the order of their rows, whole or as they are needed.

A row's number is its place in (document, position) order among the rows of split "store", and a document's number the
place of its id among theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.errors import StepError
from mnemic.neighbours.layout import AT_ONCE, InMemoryKeys
from mnemic.vectors import vectors
from operators.contracts import Corpus, Progress

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StoredKeys:
    """Implements `mnemic.neighbours.layout.Keys` over the rows of a store; ``documents`` are the ids of theirs."""

    corpus: Corpus
    documents: pa.Array
    device: str
    progress: Progress = lambda done, total: None

    @classmethod
    def of(cls, corpus: Corpus, device: str, progress: Progress = lambda done, total: None) -> StoredKeys:
        """Raises `StepError` where the store has no rows."""
        documents = ids_of(batch["document"] for batch in corpus.batches(("document",)))
        return cls(corpus, documents, device, progress)

    def __len__(self) -> int:
        return len(self.corpus)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        read = 0
        for batch in self.corpus.batches(("document", "key"), AT_ONCE):
            yield self.queries(batch["key"]), self.numbers(batch["document"])
            read += batch.num_rows
            self.progress(read, len(self))

    def take(self, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float16 [m, d] and documents int64 [m] of ``rows`` int64 [m]."""
        table = self.corpus.take(rows.tolist(), ("document", "key"))
        return self.queries(table["key"].combine_chunks()), self.numbers(table["document"].combine_chunks())

    def in_memory(self) -> InMemoryKeys:
        """All keys, in memory."""
        import torch

        keys, documents = zip(*self.batches(), strict=True)
        return InMemoryKeys(torch.cat(keys), torch.cat(documents))

    def numbers(self, column: pa.Array) -> torch.Tensor:
        """The numbers of the documents with these ids, int64 [b]; -1 for documents that the store does not have."""
        import torch

        return torch.from_numpy(places_of(column, self.documents)).to(self.device)

    def queries(self, column: pa.Array) -> torch.Tensor:
        """A column of keys, float16 [b, d]."""
        import torch

        return torch.from_numpy(vectors(column)).to(self.device)


def ids_of(columns: Iterator[pa.Array]) -> pa.Array:
    """The distinct ids of documents that come in ascending order."""
    ids = pa.chunked_array([column.cast(pa.string()).unique() for column in columns], pa.string()).unique()
    if not len(ids):
        raise StepError("The datastore has no row of split 'store'; give documents to the store in the recipe.")
    return ids


def places_of(column: pa.Array, ids: pa.Array) -> NDArray[np.int64]:
    """The place of each value among ``ids``, int64 [n]; -1 where it is none of them."""
    places = pc.fill_null(pc.index_in(column.cast(pa.string()), ids), -1)
    return places.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]
