"""The step `cluster`: a tree that is fitted once, and events that are assigned to it as they come.

1. Every fragment of `events` is looked at for the events of smallest draw; their row numbers travel, no vectors.
2. One worker trains the tree on these and writes it to `clusters`: paths and centroids.
3. Every fragment that lacks `cluster` gets it, by descent through the tree.
4. Every fragment that the tree was fitted to is described, and `clusters` written whole.

A later build finds the tree in `clusters` and only does the third: paths are stable. Then it counts: events of now in
every node, and how far those lie that came since the tree was fitted, which are the fragments after the last that there
was then. When they are too far from it, lineage, `plan`, `build` and `show` say so. With ``anew``, or when a setting
has changed, it is fitted anew.

At most 16 MB of numbers and a few hundred bytes a node travel between workers; workers read the tree from `clusters`.
Training holds the sample's vectors, at most 1.6 GB at 384 components.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import RowIds, Vectors
from mnemic.canaries import NOT_PLANTED
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import add_fields
from mnemic.dataset.write import WrittenFragment, write_whole
from mnemic.fitted import LAST, LAST_ROW, fitted_fragments
from mnemic.hardware import default_device
from mnemic.ids import hash_parts
from operators.cluster import Cluster
from operators.contracts import Progress, Reduction, Resources
from operators.deduplicate.semantic import Semantic
from pipelines import faults
from pipelines.corpus_reader import corpus_digest
from pipelines.identity import Record
from pipelines.steps.contracts import Context, RecordedStep, Status
from pipelines.steps.fit import FitStep
from pipelines.steps.grow import Compute, grow_columns, growth_state, must_add

if TYPE_CHECKING:
    from operators.cluster.describe import Describing
    from operators.cluster.drift import Counting
    from operators.cluster.sample import Sample
    from operators.cluster.tree import Tree

COLUMN = "cluster"

LEAVES = "leaf"
"""Of the levels of events those rows that tile the documents, so that nothing counts twice."""

AT_ONCE = 65_536
"""Vectors of the sample that are read at once."""

PartT = TypeVar("PartT")

Look = Callable[[Snapshot, int], Iterator[pa.RecordBatch]]
"""The rows of a fragment that a reduction looks at, some thousands at a time."""


def semantic_step(record: Record, operator: Semantic, after: tuple[str, ...]) -> InClustersStep:
    """Events that say the same are looked for inside their clusters."""
    where = f"{LEAVES} AND {NOT_PLANTED}" if operator.planted else LEAVES
    return InClustersStep(record, operator, "events", ("id",), ("id",), after, where=where, needs=(COLUMN,))


@dataclass(frozen=True)
class FittedTree:
    """A tree, written to `clusters` and not committed."""

    schema: pa.Schema
    fragments: tuple[WrittenFragment, ...]
    levels: int
    leaves: int


@dataclass(frozen=True)
class ClusterStep(RecordedStep):
    """The step. It looks at the events that satisfy ``where``, and assigns all; ``anew`` to a new tree."""

    operator: Cluster
    after: tuple[str, ...]
    where: str = LEAVES
    anew: bool = False
    datasets: tuple[str, ...] = ("events", "clusters")

    def state(self, store: Store) -> Status:
        snapshot, clusters = store["events"].snapshot(), store["clusters"].snapshot()
        if snapshot is None:
            return Status("new")
        corpus, rows = self._digest(snapshot)
        if rows == 0:
            return Status("due" if clusters is not None and clusters.count() else "done", 0, 0, "events", ("no rows",))
        column = snapshot.column_record(COLUMN) or {}
        status = growth_state(snapshot, self.record, [COLUMN], column.get("corpus", ""))
        if status.kind not in ("pending", "done"):
            return status
        if self.anew:
            return Status("due", rows, rows, "events", ("a new tree was asked for",))
        stored = (clusters.record if clusters is not None else None) or {}
        if status.done and stored.get("state") != column.get("state"):
            return Status("pending", rows, rows, "events", ("clusters is missing",))
        results = stored.get("found", {})
        if status.done and results.get("counted") != corpus:
            return Status("pending", rows, rows, "events", ("its nodes are to be counted again",))
        return replace(status, reasons=(results["due"],)) if status.done and results["due"] else status

    def _digest(self, snapshot: Snapshot) -> tuple[str, int]:
        return corpus_digest(snapshot, ("id",), self.where)

    def run(self, context: Context) -> None:
        events, clusters = context.store["events"], context.store["clusters"]
        snapshot = events.require()
        corpus, rows = self._digest(snapshot)
        if rows == 0:
            self._empty(context)
            return
        sample = None
        if self.anew or not self._stands(clusters.snapshot()):
            sample = self._sampled(context, snapshot, rows)
            self._fit(context, snapshot, sample, replace(self.record, corpus=corpus), rows)
        tree = clusters.require()
        stored = tree.record or {}
        results = {name: stored["found"][name] for name in ("levels", "leaves")}
        record = replace(self.record, corpus=stored["corpus"], found=results)
        fields = self.operator.output(snapshot.schema)
        if must_add(snapshot, record, fields.names):
            context.commit(lambda: add_fields(events, fields, record.as_json()))
        factory = partial(_filler, context.store, tree.version, self.operator, context.device)
        resources = self.operator.resources
        grow_columns(context, record, "events", ("vector",), fields.names, factory, resources)
        snapshot = events.require()
        if not stored["found"]["described"]:
            self._describe(context, snapshot, sample, corpus, rows)
        if (clusters.require().record or {})["found"]["counted"] != corpus:
            self._count(context, snapshot, corpus)

    def _stands(self, clusters: Snapshot | None) -> bool:
        """Whether `clusters` holds a tree of these settings."""
        stored = (clusters.record if clusters is not None and clusters.count() else None) or {}
        return stored.get("fingerprint") == self.record.fingerprint

    def _sampled(self, context: Context, snapshot: Snapshot, rows: int) -> Sample:
        """The events that the tree is trained on."""
        sampling, where = self.operator.sampling(rows), self.where

        def look(pinned: Snapshot, fragment: int) -> Iterator[pa.RecordBatch]:
            for batch in pinned.scan(["id"], where, fragments=[fragment], row_ids=True):
                texts = _texts(pinned, batch, sampling.reads(batch["id"]))
                yield pa.RecordBatch.from_arrays([batch["id"], batch["_rowid"], texts], names=["id", "number", "text"])

        fragments = [fragment.id for fragment in snapshot.fragments]
        whole = _reduced(context, snapshot, lambda: sampling, look, fragments, "events drawn from")
        assert whole is not None
        return sampling.finish(whole)

    def _fit(self, context: Context, snapshot: Snapshot, sample: Sample, record: Record, rows: int) -> None:
        """Train the tree in one worker, and commit it."""
        from operators.cluster.describe import bare
        from operators.cluster.sample import drawn_vectors

        operator, store, step = self.operator, context.store, self.name
        version, device, numbers = snapshot.version, context.device, replace(sample, words=Counter())

        def factory() -> Callable[[Progress], Iterator[FittedTree]]:
            def fit(progress: Progress) -> Iterator[FittedTree]:
                vectors = drawn_vectors(numbers, partial(_vectors, store["events"].require(version)))
                tree = operator.grown(vectors, rows, device or default_device(), progress)
                nodes = bare(tree)
                faults.reach(step, "before-write")
                written = write_whole(store["clusters"], nodes)
                faults.reach(step, "after-write")
                yield FittedTree(nodes.schema, tuple(written), tree.depth, tree.leaves)

            return fit

        fitted_trees: list[FittedTree] = []
        width = snapshot.schema.field("vector").type.list_size
        resources = Resources(gpus=1.0, memory=(1 << 30) + 4 * width * len(sample.draws))
        results = context.engine.stream(context.job(factory, resources), partial(context.progress, unit="levels"))
        context.in_waves(results, lambda wave: None, fitted_trees.append)
        tree = fitted_trees[-1]
        outcome = {
            "levels": tree.levels,
            "leaves": tree.leaves,
            "last": max(fragment.id for fragment in snapshot.fragments),
            "described": False,
            "counted": "",
            "due": "",
        }
        self._commit(context, replace(record, found=outcome), tree.schema, tree.fragments)

    def _describe(self, context: Context, snapshot: Snapshot, sample: Sample | None, corpus: str, rows: int) -> None:
        """Write `clusters` by what the events are that the tree was fitted to."""
        from operators.cluster.describe import COUNTED, Describing
        from operators.cluster.labels import vocabulary
        from operators.cluster.sample import chosen

        store, operator, where = context.store, self.operator, self.where
        nodes_before = store["clusters"].require()
        stored, version = nodes_before.record or {}, nodes_before.version
        words = (sample or self._sampled(context, snapshot, rows)).words
        terms, seed = tuple(vocabulary(words, stored["found"]["leaves"])), operator.seed

        def describing() -> Describing:
            return Describing(_tree(store, version, operator), terms, seed, rows)

        def look(pinned: Snapshot, fragment: int) -> Iterator[pa.RecordBatch]:
            for batch in pinned.scan(["id", "vector", COLUMN], where, fragments=[fragment], row_ids=True):
                texts = _texts(pinned, batch, chosen(batch["id"], seed, COUNTED, rows))
                columns = [batch["id"], batch["vector"], batch[COLUMN], texts]
                yield pa.RecordBatch.from_arrays(columns, names=["id", "vector", COLUMN, "text"])

        fitted = fitted_fragments(snapshot, stored)
        fragments = [fragment.id for fragment in snapshot.fragments if fragment.id in fitted]
        whole = _reduced(context, snapshot, describing, look, fragments, "events described")
        done = describing()
        nodes = done.finish(done.nothing if whole is None else whole)
        counted = corpus if stored["corpus"] == corpus else ""
        self._write(context, {**stored["found"], "described": True, "counted": counted}, nodes)

    def _count(self, context: Context, snapshot: Snapshot, corpus: str) -> None:
        """Write the sizes of now into `clusters`, and what came since the tree was fitted."""
        from operators.cluster.drift import Counting

        store, operator, where = context.store, self.operator, self.where
        nodes_before = store["clusters"].require()
        results, version, names = (
            (nodes_before.record or {})["found"],
            nodes_before.version,
            list(nodes_before.schema.names),
        )
        fitted = fitted_fragments(snapshot, nodes_before.record)

        def counting() -> Counting:
            nodes = store["clusters"].require(version).table(names)
            return Counting(operator.read(nodes), nodes)

        def look(pinned: Snapshot, fragment: int) -> Iterator[pa.RecordBatch]:
            columns = ["id", COLUMN, *([] if fragment in fitted else ["vector"])]
            yield from pinned.scan(columns, where, fragments=[fragment])

        fragments = [fragment.id for fragment in snapshot.fragments]
        whole = _reduced(context, snapshot, counting, look, fragments, "events counted")
        assert whole is not None
        self._write(context, {**results, "counted": corpus}, counting().finish(whole))

    def _write(self, context: Context, results_before: dict[str, Any], nodes: pa.Table) -> None:
        """Commit `clusters`, with what is to be known about it in lineage."""
        from operators.cluster.drift import drift, imbalance, why_due

        clusters = context.store["clusters"]
        stored = clusters.require().record or {}
        events = nodes["size"][0].as_py()  # of the root, which has the first path
        why = why_due(nodes, self.operator.levels(events))
        results = {
            **results_before,
            "events": events,
            "fitted": nodes["fitted"][0].as_py(),
            "added": nodes["added"][0].as_py(),
            "drift": round(drift(nodes), 4),
            "imbalance": round(imbalance(nodes), 2),
            "due": why and f"Re-clustering is due: {why}. `mnemic build RECIPE --recluster` fits a new tree.",
        }
        record = replace(self.record, corpus=stored["corpus"], found=results)
        table = nodes.replace_schema_metadata(None)
        self._commit(context, record, table.schema, write_whole(clusters, table))

    def _empty(self, context: Context) -> None:
        """Without events no nodes stay."""
        clusters = context.store["clusters"].snapshot()
        if clusters is not None and clusters.count():
            self._commit(context, replace(self.record, corpus="no rows"), clusters.schema.remove_metadata(), ())

    def _commit(
        self, context: Context, record: Record, schema: pa.Schema, fragments: Iterable[WrittenFragment]
    ) -> None:
        clusters, properties = context.store["clusters"], context.properties(record)
        context.commit(lambda: clusters.replace(schema, tuple(fragments), record.as_json(), properties))


@dataclass(frozen=True)
class InClustersStep(FitStep):
    """A corpus step that reads ``cluster``: it has to look again when the tree is another one, whatever the rows."""

    def _digest(self, store: Store, snapshot: Snapshot) -> tuple[str, int]:
        corpus, rows = super()._digest(store, snapshot)
        return hash_parts(corpus, (snapshot.column_record(COLUMN) or {}).get("state", "")), rows


def remember_rows(context: Context, events: Snapshot) -> None:
    """Write the row id of the last fitted event beside the tree, before fragments of ``events`` are merged."""
    clusters = context.store["clusters"]
    snapshot = clusters.snapshot()
    record = dict((snapshot.record if snapshot is not None else None) or {})
    if LAST_ROW in record.get("found", {}) or LAST not in record.get("found", {}):
        return
    fitted = fitted_fragments(events, record)
    batches = events.scan([], fragments=sorted(fitted), row_ids=True) if fitted else ()
    last = max((int(batch["_rowid"].to_numpy().max()) for batch in batches if batch.num_rows), default=-1)
    whole = {**record, "found": {**record["found"], LAST_ROW: last}}
    context.commit(lambda: clusters.annotate(whole))


def _reduced(
    context: Context,
    snapshot: Snapshot,
    reduction_of: Callable[[], Reduction[PartT, Any]],
    look: Look,
    fragments: list[int],
    unit: str,
) -> PartT | None:
    """The reduction of all rows of these fragments. Workers reduce one fragment each; the parts are merged here."""
    store, version = context.store, snapshot.version
    sizes = {fragment.id: fragment.rows for fragment in snapshot.fragments}
    total, done = sum(sizes[fragment] for fragment in fragments), 0
    reduction, whole = reduction_of(), list[PartT]()

    def factory() -> Callable[[int], tuple[int, PartT | None]]:
        mine, pinned = reduction_of(), store["events"].require(version)

        def work(fragment: int) -> tuple[int, PartT | None]:
            parts = [mine.partial(batch) for batch in look(pinned, fragment) if batch.num_rows]
            return fragment, reduce(mine.merge, parts) if parts else None

        return work

    def seen(outcome: tuple[int, PartT | None]) -> None:
        nonlocal done
        fragment, part = outcome
        if part is not None:
            whole[:] = [reduction.merge(whole[0], part) if whole else part]
        done += sizes[fragment]
        context.progress(done, total, unit)

    job = context.job(factory, Resources(), "fragment {} of events".format)
    context.in_waves(context.engine.map(job, fragments), lambda wave: None, seen)
    return whole[0] if whole else None


def _texts(pinned: Snapshot, batch: pa.RecordBatch, places: np.ndarray[Any, Any]) -> pa.Array:
    """The texts of some rows of a batch, which has `_rowid`, and null for the others."""
    numbers = batch["_rowid"].to_numpy()
    texts = pinned.take_rows(numbers[places], ["text"])["text"].combine_chunks()
    index = np.full(batch.num_rows, -1, np.int64)
    index[places] = np.arange(len(places))
    return texts.take(pa.array(index, mask=index < 0))


def _vectors(pinned: Snapshot, numbers: RowIds) -> Iterator[tuple[RowIds, Vectors]]:
    from operators.cluster.describe import vectors_of

    for start in range(0, len(numbers), AT_ONCE):
        table = pinned.take_rows(numbers[start : start + AT_ONCE], ["vector"]).combine_chunks()
        yield table["_rowid"].to_numpy(), vectors_of(table.to_batches()[0])


def _tree(store: Store, version: int, operator: Cluster) -> Tree:
    return operator.read(store["clusters"].require(version).table(["path", "centroid"]))


def _filler(store: Store, version: int, operator: Cluster, device: str | None) -> Compute:
    from operators.cluster.paths import ClusterPaths

    return ClusterPaths({}, _tree(store, version, operator), device or default_device())
