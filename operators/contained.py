"""How much of a held-out document each document contains, so that a memory is not measured on text that it holds.

`Split` compares documents by Jaccard similarity, which is small where a short document stands inside a long one. The
suffix index finds that text all the same. Containment (Broder 1997) does not fall with the length of the container: it
is the share of a document's word 5-grams that the other has. Documents that contain half of a held-out one are left out
of the index that is evaluated, and stay in the one that is attached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.kept import KEPT
from mnemic.languagemodel.windows import CHARACTERS_PER_TOKEN
from mnemic.splits import STORED
from operators.contracts import Corpus, Progress, Resources
from operators.deduplicate.shingles import Shingler, slices
from operators.sections import Fit, Section, along_with, shared_field

COLUMN = "contained"
_AT_ONCE = 1 << 20  # shingles that are looked up together


@dataclass(frozen=True)
class Contained:
    """Adds `contained`: the largest share of a held-out document's word n-grams that a document has, float32.

    A held-out document counts as a whole, and also by the ``max_document_tokens`` of it that are scored.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    ngram: int = shared_field(5, said_by="split.ngram")
    max_document_tokens: int = shared_field(1024, said_by="split.max_document_tokens")

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field(COLUMN, pa.float32(), nullable=False)])

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> HeldOutShingles:
        """Read the held-out documents, whose shingles are the state."""
        shingles, owners, sizes, done = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
        reader = Shingler(self.ngram, "words")
        characters = self.max_document_tokens * CHARACTERS_PER_TOKEN
        owner = 0
        for batch in corpus.batches(["text"], 64):
            texts = batch["text"].to_pylist()
            pieces = [*texts, *(text[:characters] for text in texts if len(text) > characters)]
            for distinct in reader.distinct(pa.array(pieces, pa.large_string())):
                shingles.append(distinct)
                owners.append(np.full(len(distinct), owner))
                sizes.append(np.full(len(distinct), len(distinct)))
                owner += 1
            done += len(texts)
            progress(done, len(corpus))
        hashes = np.concatenate(shingles)
        order = np.argsort(hashes, kind="stable")
        return HeldOutShingles(
            reader, hashes[order], np.concatenate(owners)[order], np.concatenate(sizes)[order], {"documents": done}
        )

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> HeldOutShingles:
        columns = (state[name].to_numpy() for name in ("shingle", "owner", "size"))
        return HeldOutShingles(Shingler(self.ngram, "words"), *columns)


SECTION = Section(
    "contained",
    Contained,
    Fit(
        "documents",
        key=("id",),
        columns=("text",),
        after=("split",),
        where=f"{KEPT} AND split <> '' AND split <> '{STORED}'",
        needs=("duplicate_of", "split"),
    ),
    reads=("read",),
    complete=along_with("suffixes", "split"),
)


@dataclass(frozen=True, eq=False)
class HeldOutShingles:
    """Shingles of held-out documents, uint64 [n], ascending; the document of each, and how many that has."""

    reader: Shingler
    shingles: NDArray[np.uint64]
    owners: NDArray[np.int64]
    sizes: NDArray[np.int64]
    summary: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)

    @property
    def state(self) -> pa.Table:
        return pa.table({"shingle": self.shingles, "owner": self.owners, "size": self.sizes})

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The column `contained` of documents with ``text``."""
        shares = [self._shares(texts) for texts in slices(batch["text"].cast(pa.large_string()), _AT_ONCE)]
        values = pa.array(np.concatenate([*shares, np.empty(0, np.float32)]), pa.float32())
        return pa.RecordBatch.from_arrays([values], schema=pa.schema([pa.field(COLUMN, pa.float32(), nullable=False)]))

    def _shares(self, texts: pa.Array) -> NDArray[np.float32]:
        shares = np.zeros(len(texts), np.float32)
        distinct: Sequence[NDArray[np.uint64]] = self.reader.distinct(texts)
        hashes = np.concatenate([np.empty(0, np.uint64), *distinct])
        text = np.repeat(np.arange(len(texts)), [len(one) for one in distinct])
        first = np.searchsorted(self.shingles, hashes, side="left")
        counts = np.searchsorted(self.shingles, hashes, side="right") - first
        total = int(counts.sum())
        if not total:
            return shares
        places = np.arange(total) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        pair = np.repeat(text, counts) * (int(self.owners.max()) + 1) + self.owners[places]
        pairs, example, common = np.unique(pair, return_index=True, return_counts=True)
        share = (common / self.sizes[places[example]]).astype(np.float32)
        np.maximum.at(shares, pairs // (int(self.owners.max()) + 1), share)
        return shares
