"""Near-duplicate events by meaning: vectors closer than a threshold, inside one cluster of one tenant.

SemDeDup (Abbas et al., arXiv 2303.09540): only vectors of one cluster are compared, since others are far apart. Unlike
there, the answer does not depend on a drawn order. The events of a cluster are ranked by content (most words, then
smallest id). An event is a duplicate if and only if a kept, better-ranked one has a cosine of at least the threshold.
So a chain does not collapse, and any order of rows gives the same. An event of one tenant never takes the place of
another tenant's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Vectors
from mnemic.vectors import vectors
from operators.contracts import Corpus, Progress, Resources, refuse
from operators.deduplicate.lookup import ColumnById
from operators.sections import Driven, Section, shared_field

_BLOCK = 1024
"""Events compared with the kept ones at once: 4 MB of similarities for a thousand kept ones."""


@dataclass(frozen=True)
class Semantic:
    """Adds `same_as` to events: the id of the kept event of the same cluster that says the same, "" for a kept one.

    Reads `id`, `tenant`, `cluster`, `words` and `vector`. ``threshold`` is the cosine from which two events say the
    same. Events of the source ``planted`` are not compared. Vectors of one cluster are held in memory, and those of the
    kept ones twice.
    """

    threshold: float = 0.95
    planted: str = shared_field("", said_by="curate.planted", identity=False)
    version: ClassVar[int] = 2
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        refuse(
            [""]
            if 0 < self.threshold <= 1
            else [f"The threshold of `semantic` is {self.threshold}; give a cosine above 0 and up to 1, such as 0.95."]
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("same_as", pa.string(), nullable=False)])

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> ColumnById:
        """The decisions, in another process."""
        return ColumnById.restore("same_as", state, otherwise="")

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> ColumnById:
        """Decide cluster by cluster. ``summary`` counts events, and those that have the same meaning as another."""
        ids, keepers, done = [], [], 0
        for places in _clusters(corpus):
            rows = corpus.take(places.tolist(), ["id", "words", "vector"])
            order = np.lexsort((np.array(rows["id"].to_pylist()), -np.asarray(rows["words"], np.int64)))
            keeper = same_as(vectors(rows["vector"], np.float32, copy=False)[order], self.threshold)
            fallen = np.flatnonzero(keeper >= 0)
            names = rows["id"].combine_chunks().take(pa.array(order))
            ids.append(names.take(pa.array(fallen)))
            keepers.append(names.take(pa.array(keeper[fallen])))
            done += len(rows)
            progress(done, len(corpus))
        nothing = pa.array([], pa.string())
        fallen_ids, their_keepers = pa.concat_arrays([nothing, *ids]), pa.concat_arrays([nothing, *keepers])
        summary = {"events": len(corpus), "same": len(fallen_ids)}
        return ColumnById.build("same_as", fallen_ids, their_keepers, {}, summary, otherwise="")


SECTION = Section(
    "semantic",
    Semantic,
    Driven("pipelines.steps.cluster:semantic_step", after=("cluster",)),
    reads=("segment", "cluster"),
)


def same_as(vectors: Vectors, threshold: float) -> npt.NDArray[np.int64]:
    """For ranked unit vectors, float32 [events, d], the place of the most similar kept one before each, int64, or -1.

    Ties go to the better ranked. Products are rounded to 1e-6, so that the order of summation cannot decide.
    """
    keeper = np.full(len(vectors), -1, np.int64)
    keepers = np.empty(0, np.int64)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        best, place = np.full(len(block), -np.inf), np.full(len(block), -1, np.int64)
        for first in range(0, len(keepers), 8 * _BLOCK):
            some = keepers[first : first + 8 * _BLOCK]
            similarity = np.round(block @ vectors[some].T, 6)
            nearest = similarity.argmax(axis=1)
            nearest_similarity = similarity[np.arange(len(block)), nearest]
            better = nearest_similarity > best
            best[better], place[better] = nearest_similarity[better], some[nearest[better]]
        inside = np.round(block @ block.T, 6)
        new: list[int] = []
        for row in range(len(block)):
            if new:
                nearest = int(inside[row, new].argmax())
                if inside[row, new[nearest]] > best[row]:
                    best[row], place[row] = inside[row, new[nearest]], start + new[nearest]
            if best[row] >= threshold:
                keeper[start + row] = place[row]
            else:
                new.append(row)
        keepers = np.concatenate([keepers, start + np.array(new, np.int64)])
    return keeper


def _clusters(corpus: Corpus) -> Iterator[npt.NDArray[np.int64]]:
    """Positions of the events of each cluster of each tenant, int64."""
    columns = pa.Table.from_batches(list(corpus.batches(["tenant", "cluster"])))
    tenant, cluster = (columns[name].combine_chunks().dictionary_encode() for name in ("tenant", "cluster"))
    codes = np.asarray(tenant.indices, np.int64) * max(1, len(cluster.dictionary)) + np.asarray(cluster.indices)
    order = np.argsort(codes, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
