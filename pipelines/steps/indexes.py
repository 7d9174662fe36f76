"""The indexes of a bank: segments written by workers, recall measured, and the record of both for the release.

A dataset says in `mnemic.catalogue` which indexes it has. `events` are indexed by words, vectors and what conditions
name. `documents` are too, but for vectors: a search hears the words of the document that an event is in, and there are
far fewer documents to ask than rows that hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mnemic.catalogue import EVENT_INDEXES, DatasetSpec, IndexPlan
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.index import (
    IndexWork,
    Merge,
    Write,
    build_indexes,
    built,
    measure_recall,
    needs_indexing,
    record_of_index,
    write_record,
)
from operators.contracts import Resources
from pipelines.steps.contracts import Context


def lacks_indexes(store: Store, specs: Iterable[DatasetSpec]) -> bool:
    """Whether a dataset has rows that an index of it should cover and does not."""
    for spec in specs:
        snapshot = None if spec.index is None else store[spec.name].snapshot()
        if snapshot is not None and spec.index and snapshot.count() and needs_indexing(snapshot, spec.index):
            return True
    return False


def update_indexes(context: Context, specs: Iterable[DatasetSpec]) -> dict[str, Any]:
    """Bring all indexes up to date and give their records: kind, rows, bytes, and recall of the vector index.

    Those of `events` go by their column, those of `documents` and others by the dataset, a dot and the column.
    Interrupted anywhere, the next build goes on with what is missing.
    """
    indexes: dict[str, Any] = {}
    for spec in specs:
        place = "" if spec.name == "events" else f"{spec.name}."
        updated = {} if spec.index is None else _update(context, spec.name, spec.index)
        indexes |= {f"{place}{column}": record for column, record in updated.items()}
    return indexes


def _update(context: Context, name: str, plan: IndexPlan) -> dict[str, Any]:
    dataset = context.store[name]
    snapshot = dataset.snapshot()
    if snapshot is None or not snapshot.count():
        return {}

    def told(work: IndexWork) -> str:
        if isinstance(work, Write):
            return f"the index on {work.column} over {len(work.fragments)} fragments of {name}"
        if isinstance(work, Merge):
            return f"the index on {work.column} of {name}"
        return f"the vectors of {name}"

    def workers(pinned: Snapshot, work: Sequence[IndexWork]) -> Iterator[Any]:
        version = pinned.version

        def factory() -> Callable[[IndexWork], Any]:
            here = dataset.require(version)
            return lambda item: item.run(here)

        return context.engine.map(context.job(factory, Resources(), told), work)

    if needs_indexing(snapshot, plan):
        context.commit(lambda: build_indexes(dataset, plan, workers))
        dataset.remove_orphans(context.lease.settled)  # segments stay behind where they were merged
        snapshot = dataset.require()
        if plan.vector in built(snapshot) and record_of_index(snapshot, plan.vector) is None:
            record = measure_recall(snapshot, plan.vector, workers)
            context.commit(lambda: write_record(dataset.require(), plan.vector, record))
    return records(dataset.require(), plan)


def records(snapshot: Snapshot, plan: IndexPlan = EVENT_INDEXES) -> dict[str, Any]:
    """What a release says about its indexes. A vector column without an index is searched exactly."""
    indexes: dict[str, Any] = {
        column: {"kind": index.kind, "rows": index.rows, "bytes": index.bytes}
        for column, index in sorted(built(snapshot).items())
    }
    if plan.vector in snapshot.schema.names:
        exact = {"kind": "exact", "rows": snapshot.count(), "recall_at_10": 1.0}
        indexes[plan.vector] = record_of_index(snapshot, plan.vector) or indexes.get(plan.vector, exact)
    return indexes
