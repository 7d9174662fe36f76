"""Do what an intent asks for, from its beginning or from where a kill has left it: each part is harmless twice.

All commands end with a release that pins the heads, and whose run is the intent's. Where that release is there, only
the note of the end is missing, and of an erasure the end of the releases before it.
"""

from __future__ import annotations

from mnemic.dataset.fence import Fence
from mnemic.errors import BankError
from mnemic.facts import ADVICE
from mnemic.inbox.waiting import NAME as INBOX
from mnemic.release import Release, find_release, releases
from mnemic.removals import NAME as REMOVALS
from mnemic.verify import datasets_of
from pipelines.pins import RECORD
from pipelines.steps.contracts import Context
from pipelines.steps.inbox import return_rows
from pipelines.steps.indexes import update_indexes
from pipelines.upkeep.erasure import end_affected
from pipelines.upkeep.intents import Intent, end, unfinished
from pipelines.upkeep.pinning import pin_heads, pinnable
from pipelines.upkeep.removing import take_out


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
    """Do what is left of ``intent``, and give its release; the newest where nothing of it was begun."""
    written = [release for release in releases(context.store) if release.run == intent.run]
    release = written[-1] if written else _carry_out(context, intent)
    if intent.command == "remove" and intent.facts.get("erase"):
        end_affected(context, intent.run)
    end(context, intent)
    return release


def _carry_out(context: Context, intent: Intent) -> Release:
    if intent.command == "rollback":
        return _roll_back(context, intent)
    if intent.command == "remove":
        base = find_release(context.store, _name_in(intent, context.store.root))
        return take_out(context, intent.run, base, bool(intent.facts.get("erase")))
    return _pin_compacted(context, intent)


def _name_in(intent: Intent, root: str) -> str:
    name = intent.facts.get("release")
    if not isinstance(name, str):
        raise BankError(f"The last {intent.command} of {root} does not say to which release. {ADVICE}")
    return name


def _roll_back(context: Context, intent: Intent) -> Release:
    """Put the versions of a release on top of every dataset, empty what it does not have, and pin all that."""
    store = context.store
    newest, target = releases(store)[-1], find_release(store, _name_in(intent, store.root))
    properties = context.properties(RECORD)
    return_rows(store, store[INBOX].require(target.versions[INBOX]) if INBOX in target.versions else None)
    for spec, head in list(pinnable(store)):
        dataset = store[spec.name]
        if spec.name in target.versions:
            version = target.versions[spec.name]
            context.commit(lambda dataset=dataset, version=version: dataset.go_back_to(version, properties))  # type: ignore[misc]
        elif head.rows_of_manifest or head.record:
            context.commit(lambda dataset=dataset: dataset.delete("true"))  # type: ignore[misc]
            context.commit(lambda dataset=dataset: dataset.annotate({}))  # type: ignore[misc]
    facts = {"rolled_back_from": newest.name, "rolled_back_to": target.name}
    if REMOVALS in target.versions or store[REMOVALS].snapshot() is None:
        return pin_heads(context, intent.run, target, facts)
    return pin_heads(context, intent.run, target, facts, beside=(REMOVALS,), counts={**target.counts, REMOVALS: 0})


def _pin_compacted(context: Context, intent: Intent) -> Release:
    """Bring the indexes up to date, and pin the heads of the release that was compacted."""
    store = context.store
    base = find_release(store, _name_in(intent, store.root))
    specs = [spec for spec, _ in pinnable(store) if spec.name in base.versions]
    indexes = update_indexes(context, specs)
    facts = {"compacted": base.name, **({"indexes": indexes} if indexes else {})}
    return pin_heads(context, intent.run, base, facts)
