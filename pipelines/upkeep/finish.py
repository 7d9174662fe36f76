"""Do what an intent asks for, from its beginning or from where a kill has left it: each part is harmless twice.

Both commands end with a release that pins the heads, and whose run is the intent's. Where that release is there, only
the note of the end is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from mnemic.catalogue import DatasetSpec, in_order, spec_of
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.fence import Fence
from mnemic.errors import BankError
from mnemic.facts import ADVICE
from mnemic.release import Release, find_release, releases
from mnemic.verify import datasets_of
from pipelines.pins import RECORD, STEP, pin
from pipelines.steps.contracts import Context
from pipelines.steps.indexes import update_indexes
from pipelines.upkeep.intents import Intent, end, unfinished


def finish_interrupted(context: Context, fence: Fence, guarded: frozenset[str] = frozenset()) -> None:
    """Finish the command that was killed last, if one was. ``guarded`` are datasets that ``fence`` guards already.

    The context's store reaches every dataset of the bank.
    """
    intent = unfinished(context.store)
    if intent is None:
        return
    others = [name for name in datasets_of(context.store) if name not in guarded and name != "leases"]
    if others:
        fence.take_over([context.store[name] for name in others])
    finish(context.of(intent.command), intent)


def finish(context: Context, intent: Intent) -> Release:
    """Do what is left of ``intent``, and give its release."""
    written = [release for release in releases(context.store) if release.run == intent.run]
    release = written[-1] if written else _carry_out(context, intent)
    end(context, intent)
    return release


def _carry_out(context: Context, intent: Intent) -> Release:
    if intent.command == "rollback":
        return _roll_back(context, intent)
    return _pin_compacted(context, intent)


def _name_in(intent: Intent, root: str) -> str:
    name = intent.facts.get("release")
    if not isinstance(name, str):
        raise BankError(f"The last {intent.command} of {root} does not say to which release. {ADVICE}")
    return name


def pinnable(store: Store) -> Iterator[tuple[DatasetSpec, Snapshot]]:
    """The heads of all datasets that a release may pin."""
    for name in datasets_of(store):
        head = store[name].snapshot()
        if head is not None and (spec := spec_of(name, head.schema)).pinned:
            yield spec, head


def _roll_back(context: Context, intent: Intent) -> Release:
    """Put the versions of a release on top of every dataset, empty what it does not have, and pin all that."""
    store = context.store
    newest, target = releases(store)[-1], find_release(store, _name_in(intent, store.root))
    properties = context.properties(RECORD)
    for spec, head in list(pinnable(store)):
        dataset = store[spec.name]
        if spec.name in target.versions:
            version = target.versions[spec.name]
            context.commit(lambda dataset=dataset, version=version: dataset.go_back_to(version, properties))  # type: ignore[misc]
        elif head.rows_of_manifest or head.record:
            context.commit(lambda dataset=dataset: dataset.delete("true"))  # type: ignore[misc]
            context.commit(lambda dataset=dataset: dataset.annotate({}))  # type: ignore[misc]
    return _pin_heads(context, intent, target, {"rolled_back_from": newest.name, "rolled_back_to": target.name})


def _pin_compacted(context: Context, intent: Intent) -> Release:
    """Bring the indexes up to date, and pin the heads of the release that was compacted."""
    store = context.store
    base = find_release(store, _name_in(intent, store.root))
    specs = [spec for spec, _ in pinnable(store) if spec.name in base.versions]
    indexes = update_indexes(context, specs)
    return _pin_heads(context, intent, base, {"compacted": base.name, **({"indexes": indexes} if indexes else {})})


def _pin_heads(context: Context, intent: Intent, base: Release, facts: dict[str, Any]) -> Release:
    """A release like ``base`` of the heads, with ``facts`` beside its own record."""
    versions = {name: context.store[name].require().version for name in in_order(base.versions)}
    context.own(versions)
    own = {"rolled_back_from", "rolled_back_to", "compacted"}
    before = {name: value for name, value in base.lineage.get(STEP, RECORD.as_json()).items() if name not in own}
    lineage = {**base.lineage, STEP: {**before, **facts}}
    return pin(context, datetime.now(UTC), versions, base.counts, json.dumps(base.recipe), lineage, intent.run)
