"""A build's release: what nobody owns is cleared, indexes are brought up to date and measured, and the heads pinned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Store
from mnemic.release import Release, current_versions, releases
from pipelines.pins import RECORD, STEP, pin
from pipelines.recipe import Recipe
from pipelines.steps.contracts import Context, Status, Step
from pipelines.steps.curate import undecided
from pipelines.steps.datasets import known_datasets, made_datasets
from pipelines.steps.inbox import clear
from pipelines.steps.indexes import lacks_indexes, update_indexes
from pipelines.steps.owners import clear_ownerless, ownerless


def release_state(store: Store, steps: Sequence[Step]) -> Status:
    """Whether the head differs from the newest release, or rows are missing from an index."""
    specs = made_datasets(steps)
    versions = current_versions(store, specs)
    if "documents" not in versions:
        return Status("new")
    earlier = releases(store)
    if ownerless(store, steps):
        return Status("pending", 1, 1, "releases", ("memories that the recipe no longer makes",))
    if undecided(store, steps):
        return Status("pending", 1, 1, "releases", ("decisions that the recipe no longer makes",))
    if lacks_indexes(store, specs):
        return Status("pending", 1, 1, "releases", ("the indexes are not up to date",))
    if not earlier:
        return Status("new", 1, 1, "releases")
    if earlier[-1].versions != versions:
        return Status("pending", 1, 1, "releases", ("the bank changed since the last release",))
    return Status("done", 0, 1, "releases")


def write_release(context: Context, recipe: Recipe, steps: Sequence[Step], results: dict[str, Any]) -> Release:
    """Clear what nobody owns, index, and pin the newest versions."""
    clear_ownerless(context, steps)
    specs = made_datasets(steps)
    indexes = update_indexes(context, specs)
    versions = current_versions(context.store, specs)
    context.own(versions)
    created = datetime.now(UTC)
    counts = {
        spec.name: context.store[spec.name].require().count(spec.counted) for spec in specs if spec.name in versions
    }
    stored = _records(context.store, [spec for spec in known_datasets(steps).values() if spec.pinned])
    lineage = {
        step.name: {**step.record.as_json(), **stored.get(step.name, {}), **results.get(step.name, {})}
        for step in steps
    }
    lineage[STEP] = {**RECORD.as_json(), "indexes": indexes}
    release = pin(context, created, versions, counts, recipe.as_json(), lineage)
    clear(context)
    return release


def _records(store: Store, specs: Sequence[DatasetSpec]) -> dict[str, dict[str, Any]]:
    """The records that steps left with their columns: they know the corpus that was looked at, and what was found.

    What the record of a table has found is newer: columns stand while `clusters` is counted again.
    """
    stored: dict[str, dict[str, Any]] = {}
    for spec in specs:
        snapshot = store[spec.name].snapshot()
        if snapshot is None:
            continue
        records = (snapshot.column_record(column) for column in snapshot.schema.names)
        stored.update({record["step"]: record for record in records if record})
        whole = snapshot.record
        if whole and whole.get("found") and whole["step"] in stored:
            stored[whole["step"]] = whole
    return stored
