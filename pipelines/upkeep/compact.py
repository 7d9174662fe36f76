"""Merge what many builds have left in small fragments, without a change of content: the digest stays.

Four things remember rows or fragments. Indexes are built anew. The runs of `bands`, one for each fragment of documents,
are made again by the next deduplication; they are no content. The tree of clusters remembers by a fragment's number up
to which events it was fitted: before `events` is merged, the row id takes its place (`pipelines.steps.cluster`), and
events from before and after are never merged. Fragments on which a column is pending are left alone.

A release pins the merged versions. The files of before are freed when no release needs them (`prune`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.compaction import groups, merge
from mnemic.dataset.index import drop_indexes
from mnemic.dataset.snapshot import FragmentInfo
from mnemic.fitted import fitted_fragments
from mnemic.release import releases
from pipelines.progress import Sink
from pipelines.steps.cluster import remember_rows
from pipelines.steps.contracts import Context
from pipelines.upkeep.finish import finish
from pipelines.upkeep.intents import begin
from pipelines.upkeep.pinning import check_ended, pinnable
from pipelines.upkeep.writing import bank_at, writing


@dataclass(frozen=True)
class Compaction:
    """``datasets``: name -> (fragments before, fragments after), of those that are merged.

    ``written`` is the release that pins them, "" before it is.
    """

    bank: str
    datasets: Mapping[str, tuple[int, int]]
    written: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compact(
    bank: str | Path,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
    sink: Sink = lambda event: None,
) -> Compaction:
    """Merge the small fragments of ``bank``, and write those anew that hold many deleted rows. ``dry_run`` only plans.

    Where nothing is worth it, nothing is written. Raises ``BuildUnfinished`` where a build has begun and not ended, and
    ``BankInUse`` while one runs.
    """
    store = bank_at(bank, storage_options)
    if dry_run:
        return _planned(store)
    with writing(store, "compact", sink) as context:
        plan = _planned(context.store)
        if not plan.datasets:
            return plan
        intent = begin(context, "compact", {"release": releases(context.store)[-1].name})
        for spec, _ in _compactable(context.store):
            _compact(context, spec.name)
        return replace(plan, written=finish(context, intent).name)


def _compactable(store: Store) -> list[tuple[DatasetSpec, Snapshot]]:
    """The datasets of the newest release whose fragments may be merged."""
    newest = releases(store)[-1]
    return [(spec, head) for spec, head in pinnable(store) if spec.merged and spec.name in newest.versions]


def _planned(store: Store) -> Compaction:
    check_ended(store, releases(store)[-1], "compact")
    datasets = {}
    for spec, head in _compactable(store):
        worth = groups(head, _side(store, spec.name, head))
        if worth:
            before = len(head.fragments)
            empty = sum(not any(fragment.rows for fragment in group) for group in worth)
            datasets[spec.name] = (before, before - sum(len(group) - 1 for group in worth) - empty)
    return Compaction(store.root, datasets)


def _side(store: Store, name: str, head: Snapshot) -> Callable[[FragmentInfo], object]:
    """What tells fragments apart that must not be merged."""
    clusters = store["clusters"].snapshot() if name == "events" else None
    if clusters is None:
        return lambda fragment: None
    fitted = fitted_fragments(head, clusters.record)
    return lambda fragment: fragment.id in fitted


def _compact(context: Context, name: str) -> None:
    dataset = context.store[name]
    head = dataset.require()
    worth = groups(head, _side(context.store, name, head))
    if not worth:
        return
    if name == "events":
        remember_rows(context, head)
    context.commit(lambda: drop_indexes(dataset))
    for group in worth:
        context.commit(lambda group=group: merge(dataset, group))  # type: ignore[misc]
