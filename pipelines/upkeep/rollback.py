"""Go back to an earlier release: a new one that pins its versions, from which the next build goes on.

Nothing is lost: the releases in between stay, and so do their rows. Readers see the new release at once. Sources are as
they are: the next build reads what has changed in them since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.release import find_release, lacking, releases
from pipelines.pins import STEP
from pipelines.progress import Sink
from pipelines.upkeep.finish import finish
from pipelines.upkeep.intents import begin
from pipelines.upkeep.pinning import pinnable
from pipelines.upkeep.writing import bank_at, writing


@dataclass(frozen=True)
class Rollback:
    """From the newest ``release`` back to another, ``to``; ``written`` is the release that says so, "" before it is.

    ``datasets``: name -> (rows of the head, rows to go back to), of those that change.
    """

    bank: str
    release: str
    to: str
    datasets: Mapping[str, tuple[int, int]]
    written: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def rollback(
    bank: str | Path,
    release: str,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
    sink: Sink = lambda event: None,
) -> Rollback:
    """Let ``release`` (a prefix is enough) be the content of ``bank`` again. ``dry_run`` changes nothing.

    Where the bank is there already, nothing is written. Raises ``BankError`` where there is no such release or files of
    it are missing, and ``BankInUse`` while a build runs.
    """
    store = bank_at(bank, storage_options)
    if dry_run:
        return _planned(store, release)
    with writing(store, "rollback", sink) as context:
        plan = _planned(context.store, release)
        if not plan.datasets and (plan.written or plan.release == plan.to):
            return plan
        intent = begin(context, "rollback", {"release": plan.to})
        return replace(plan, written=finish(context, intent).name)


def _planned(store: Store, name: str) -> Rollback:
    target = find_release(store, name)
    missing = lacking(store, target)
    if missing:
        raise BankError(
            f"Release {target.name} of {store.root} lacks files of {', '.join(missing)}, so the bank cannot go back to "
            f"it. Bring them back from a copy (`mnemic verify {store.root}` names them), or name another release."
        )
    datasets = {}
    for spec, head in pinnable(store):
        version = target.versions.get(spec.name)
        if version is None:
            rows = head.rows_of_manifest
            if rows:
                datasets[spec.name] = (rows, 0)
        elif version not in (head.version, head.restores):
            datasets[spec.name] = (head.rows_of_manifest, store[spec.name].require(version).rows_of_manifest)
    newest = releases(store)[-1]
    there = not datasets and newest.lineage.get(STEP, {}).get("rolled_back_to") == target.name
    return Rollback(store.root, newest.name, target.name, datasets, newest.name if there else "")
