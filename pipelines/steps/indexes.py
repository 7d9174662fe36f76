"""The indexes of `events`: segments written by workers, recall measured, and the record of both for the release."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mnemic.dataset import Snapshot
from mnemic.dataset.index import (
    EVENTS,
    IndexPlan,
    Work,
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

DATASET = "events"


def update_indexes(context: Context, plan: IndexPlan = EVENTS) -> dict[str, Any]:
    """Bring the indexes of `events` up to date and give their records, by column: kind, rows, bytes, and recall.

    Interrupted anywhere, the next build goes on with what is missing.
    """
    dataset = context.store[DATASET]
    snapshot = dataset.snapshot()
    if snapshot is None or not snapshot.count():
        return {}

    def workers(pinned: Snapshot, work: Sequence[Work]) -> Iterator[Any]:
        version = pinned.version

        def factory() -> Callable[[Work], Any]:
            here = dataset.require(version)
            return lambda item: item.run(here)

        return context.engine.map(context.job(factory, Resources(), _told), work)

    if needs_indexing(snapshot, plan):
        context.commit(lambda: build_indexes(dataset, plan, workers))
        snapshot = dataset.require()
        if plan.vector in built(snapshot) and record_of_index(snapshot, plan.vector) is None:
            record = measure_recall(snapshot, plan.vector, workers)
            context.commit(lambda: write_record(dataset.require(), plan.vector, record))
    return records(dataset.require(), plan)


def records(snapshot: Snapshot, plan: IndexPlan = EVENTS) -> dict[str, Any]:
    """What a release says about its indexes. A vector column without an index is searched exactly."""
    found: dict[str, Any] = {
        column: {"kind": index.kind, "rows": index.rows, "bytes": index.bytes}
        for column, index in sorted(built(snapshot).items())
    }
    if plan.vector in snapshot.schema.names:
        exact = {"kind": "exact", "rows": snapshot.count(), "recall_at_10": 1.0}
        found[plan.vector] = record_of_index(snapshot, plan.vector) or found.get(plan.vector, exact)
    return found


def _told(work: Work) -> str:
    if isinstance(work, Write):
        return f"the index on {work.column} over {len(work.fragments)} fragments of {DATASET}"
    return f"the vectors of {DATASET}"
