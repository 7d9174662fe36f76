"""The heads of a bank as a release: which there are, and a release of them that is like another one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mnemic.catalogue import DatasetSpec, in_order, spec_of
from mnemic.dataset import Snapshot, Store
from mnemic.errors import BuildUnfinished
from mnemic.release import Release
from mnemic.verify import datasets_of
from pipelines.pins import RECORD, STEP, pin
from pipelines.steps.contracts import Context

OWN = frozenset({"rolled_back_from", "rolled_back_to", "compacted", "removed", "erased"})
"""What a release says of the command of upkeep that wrote it."""


def pinnable(store: Store) -> Iterator[tuple[DatasetSpec, Snapshot]]:
    """The heads of all datasets that a release may pin."""
    for name in datasets_of(store):
        head = store[name].snapshot()
        if head is not None and (spec := spec_of(name, head.schema)).pinned:
            yield spec, head


def naming(store: Store) -> list[tuple[DatasetSpec, Snapshot]]:
    """The heads of all datasets whose rows may name rows of others, whether the newest release pins them or not.

    A section that left the recipe leaves its dataset, a build that was broken off has begun some, and events that were
    retrieved are written down beside all releases.
    """
    heads = []
    for name in datasets_of(store):
        head = store[name].snapshot()
        if head is not None and ((spec := spec_of(name, head.schema)).pinned or spec.parents):
            heads.append((spec, head))
    return heads


def check_ended(store: Store, newest: Release, then: str) -> None:
    """Raise where heads differ from the newest release: what a build has begun would get into one unfinished."""
    begun = [name for name, version in newest.versions.items() if store[name].require().version != version]
    if begun:
        raise BuildUnfinished(
            f"A build of {store.root} has begun and not ended ({', '.join(begun)} changed since release "
            f"{newest.name}). Run `mnemic build` to its end, or go back with `mnemic rollback {store.root} "
            f"{newest.name}`; then {then}."
        )


def pin_heads(
    context: Context,
    run: str,
    base: Release,
    facts: Mapping[str, Any],
    *,
    beside: tuple[str, ...] = (),
    counts: Mapping[str, int] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> Release:
    """A release like ``base`` of the heads, with ``facts`` beside its own record; ``run`` is that of the command.

    ``beside`` are datasets that ``base`` has not. ``counts`` and ``lineage`` are those of ``base`` unless they changed.
    """
    names = in_order({*base.versions, *beside})
    versions = {name: context.store[name].require().version for name in names}
    context.own(versions)
    earlier = base.lineage.get(STEP, RECORD.as_json())
    own = {**{name: value for name, value in earlier.items() if name not in OWN}, **facts}
    recipe = json.dumps(base.recipe)
    steps = {**base.lineage, **(lineage or {}), STEP: own}
    return pin(context, datetime.now(UTC), versions, counts or base.counts, recipe, steps, run)
