"""Build the indexes that are missing and add new fragments to the others.

An index is made in parts. Each is a *segment* over some fragments, written by a worker; a worker merges the segments of
an index, and the driver commits all indexes together. All kinds are made so, with the same results as one process would
get: BM25 scores are computed over all segments of an index, and the partitions of the vector index are trained once,
and its rotation drawn once, before its segments are made. (IVF_SQ and IVF_HNSW_SQ could not be: every segment chooses
its own quantisation bounds, and merging keeps the codes; recall@10 fell from .95 to .79.)

Fragments that were appended become a segment of their own; from the ninth on all are merged into one. A vector index is
trained anew when most of its rows are new, or when a dataset has four times the rows that it was laid out for. An index
of words is made anew when its first rows come that are written without spaces.
A dropped or replaced column takes its indexes with it, so vectors of two models never meet in one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import lance
import numpy as np
from lance.indices import IndicesBuilder
from lance.lance import indices as lance_indices

from mnemic.catalogue import EVENT_INDEXES, IndexPlan
from mnemic.dataset.failures import readable_errors, reading
from mnemic.dataset.index.bm25 import SPACED, tokenizer
from mnemic.dataset.index.plan import (
    CODE_BITS,
    MOST_SEGMENTS,
    RETRAIN_FACTOR,
    WORDS,
    Built,
    built,
    planned,
    planned_settings,
    uncovered,
)
from mnemic.dataset.snapshot import Snapshot
from mnemic.dataset.store import Dataset
from mnemic.vectors import vectors

ROWS_PER_PART = 250_000
SAMPLE_PER_PARTITION, TURNS = 64, 20
"""Rows that are looked at for each partition, and turns of k-means, at most."""

ROTATION_SEED = 20_240_521

Segment = Any
"""A written, uncommitted segment (`lance.dataset.Index`): under 1 KB, it can be sent to another process."""


@dataclass(frozen=True)
class TrainCentroids:
    """Work: the centroids of a vector index, float32 [partitions, dimension]."""

    column: str
    partitions: int

    def run(self, snapshot: Snapshot) -> np.ndarray[Any, Any]:
        rows = snapshot.count()
        with readable_errors(snapshot.uri):
            model = IndicesBuilder(snapshot.native, self.column).train_ivf(
                num_partitions=self.partitions,
                distance_type="cosine",
                sample_rate=max(1, min(SAMPLE_PER_PARTITION, rows // self.partitions)),
                max_iters=TURNS,
            )
        return vectors(model.centroids, np.float32)


@dataclass(frozen=True)
class Write:
    """Work: one segment, over some fragments."""

    column: str
    kind: str
    fragments: tuple[int, ...]
    centroids: np.ndarray[Any, Any] | None = None
    tokenizer: str = SPACED

    def run(self, snapshot: Snapshot) -> Segment:
        options: dict[str, Any] = {}
        if self.kind == WORDS:
            options = {"with_position": False, "base_tokenizer": self.tokenizer}
        elif self.centroids is not None:
            options = {
                "metric": "cosine",
                "num_partitions": len(self.centroids),
                "ivf_centroids": self.centroids,
                "num_bits": CODE_BITS,
                "rabitq_model": rotation(self.centroids.shape[1]),
            }
        with readable_errors(snapshot.uri):
            return snapshot.native.create_index_uncommitted(
                self.column,
                self.kind,
                name=index_name(self.column),
                fragment_ids=list(self.fragments),
                **options,
            )


@dataclass(frozen=True)
class Merge:
    """Work: one segment of several. One alone is merged too: a segment of words is not readable before."""

    column: str
    segments: tuple[Segment, ...]

    def run(self, snapshot: Snapshot) -> Segment:
        with readable_errors(snapshot.uri):
            return snapshot.native.merge_existing_index_segments(list(self.segments))


class IndexWork(Protocol):
    """Something to be done with a snapshot; it and its result can be sent to another process."""

    def run(self, snapshot: Snapshot) -> Any: ...


Workers = Callable[[Snapshot, Sequence[IndexWork]], Iterable[Any]]
"""Runs work, anywhere and in any order, and gives the results."""


def in_this_process(snapshot: Snapshot, work: Sequence[IndexWork]) -> Iterable[Any]:
    return (item.run(snapshot) for item in work)


def build_indexes(dataset: Dataset, plan: IndexPlan = EVENT_INDEXES, workers: Workers = in_this_process) -> None:
    """Bring the indexes of ``plan`` up to date with the newest version. Segments that stand are not made again."""
    snapshot = dataset.require()
    have = built(snapshot)
    anew = {
        column: kind
        for column, kind in planned(snapshot, plan).items()
        if column not in have
        or (column == plan.vector and _outgrown(snapshot, have[column], kind))
        or (kind == WORDS and _cuts_otherwise(snapshot, have[column]))
    }
    if anew:
        _make(dataset, snapshot, plan, anew, have, workers)
    for column, index in built(dataset.require()).items():
        if column in planned(snapshot, plan) and uncovered(dataset.require(), index):
            _add(dataset, index)


def drop_indexes(dataset: Dataset) -> None:
    """Take all indexes off; `build_indexes` makes them anew. Earlier versions keep theirs."""
    for index in built(dataset.require()).values():
        dataset.change(lambda native, name=index.name: native.drop_index(name))  # type: ignore[misc]


def _make(
    dataset: Dataset,
    snapshot: Snapshot,
    plan: IndexPlan,
    kinds: Mapping[str, str],
    have: Mapping[str, Built],
    workers: Workers,
) -> None:
    for column in kinds.keys() & have.keys():
        name = have[column].name
        dataset.change(lambda native, name=name: native.drop_index(name))  # type: ignore[misc]
    snapshot = dataset.require()
    groups = parts(snapshot)
    centroids = None
    if plan.vector in kinds:
        train = TrainCentroids(plan.vector, planned_settings(snapshot.count()).partitions)
        (centroids,) = workers(snapshot, [train])
    cut_by = {column: tokenizer(snapshot, column) for column, kind in kinds.items() if kind == WORDS}
    work = [
        Write(column, kind, group, centroids if column == plan.vector else None, cut_by.get(column, SPACED))
        for column, kind in kinds.items()
        for group in groups
    ]
    of_column: dict[str, list[Segment]] = {}
    for segment in workers(snapshot, work):
        of_column.setdefault(segment.name, []).append(segment)
    merges = [
        Merge(column, tuple(sorted(of_column[index_name(column)], key=lambda one: min(one.fragment_ids))))
        for column in kinds
        if index_name(column) in of_column
    ]
    merged = sorted(workers(snapshot, merges), key=lambda segment: segment.fields[0])
    operation = lance.LanceOperation.CreateIndex(new_indices=merged, removed_indices=[])
    dataset.commit(operation, snapshot.version, {})


def _add(dataset: Dataset, index: Built) -> None:
    """Add the fragments that an index does not cover, as a segment, or by merging all of its segments."""
    merge = 0 if len(index.segments) < MOST_SEGMENTS else len(index.segments) + 1
    dataset.change(
        lambda native: native.optimize.optimize_indices(num_indices_to_merge=merge, index_names=[index.name])
    )


def _cuts_otherwise(snapshot: Snapshot, index: Built) -> bool:
    """Whether an index of words cuts at spaces alone, and rows that it does not cover are written without them."""
    left_out = uncovered(snapshot, index)
    return index.tokenizer == SPACED and bool(left_out) and tokenizer(snapshot, index.column, left_out) != SPACED


def _outgrown(snapshot: Snapshot, index: Built, kind: str) -> bool:
    """Whether a vector index is of another family, or was laid out for a dataset of another size."""
    if index.kind != kind:
        return True
    left_out = set(uncovered(snapshot, index))
    if 2 * sum(fragment.rows for fragment in snapshot.fragments if fragment.id in left_out) > snapshot.count():
        return True
    ratio = planned_settings(snapshot.count()).partitions / partitions_of(snapshot, index)
    return not 1 / RETRAIN_FACTOR < ratio < RETRAIN_FACTOR


def partitions_of(snapshot: Snapshot, index: Built) -> int:
    with reading(snapshot.uri):
        return len(snapshot.native.centroids(index_name=index.name))


def parts(snapshot: Snapshot, rows: int = ROWS_PER_PART) -> list[tuple[int, ...]]:
    """Fragments in runs of about ``rows`` rows: what one worker indexes at a time."""
    groups: list[list[int]] = [[]]
    size = 0
    for fragment in snapshot.fragments:
        if fragment.rows == 0:
            continue
        if groups[-1] and size + fragment.rows > rows:
            groups.append([])
            size = 0
        groups[-1].append(fragment.id)
        size += fragment.rows
    return [tuple(group) for group in groups if group]


def index_name(column: str) -> str:
    return f"{column}_idx"


def rotation(dimension: int) -> str:
    """The rotation of RaBitQ (Gao and Long, SIGMOD 2024, section 3.1), the same for equal ``dimension``, as JSON."""
    model = json.loads(lance_indices.build_rq_model(dimension, num_bits=CODE_BITS))
    signs = np.random.default_rng(ROTATION_SEED).integers(0, 256, len(model["fast_rotation_signs"]))
    return json.dumps({**model, "fast_rotation_signs": signs.tolist()})
