"""The flow `mnemic-upkeep`: what a bank needs between its builds, one Prefect task a chore, and a table of them all.

The bank is verified first, and nothing is dropped from one that is damaged. Then fragments are merged, where that is
due, old releases end, and what else is due is told: none of it changes the content. A chore that a build is in the way
of fails with a sentence, and the next run does it; only the loss of infrastructure is worth another try.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.markdown import escaped, key
from flows.naming import name_of_upkeep, tag_run
from flows.progress import log_lines
from flows.tasks import run_as_task
from mnemic.bank import open_bank
from mnemic.errors import BankError, BuildUnfinished, MnemicError
from mnemic.funnel import dues, upkeep_dues
from mnemic.verify import verify
from pipelines.upkeep.compact import compact
from pipelines.upkeep.prune import prune


@flow(
    name="mnemic-upkeep",
    flow_run_name=name_of_upkeep,
    description="Verify a bank, merge its small fragments, end its old releases, and tell what is due.",
    persist_result=False,
)
def keep_up(
    bank: str,
    keep: Annotated[int, Field(ge=1)] = 5,
    keep_monthly: Annotated[int, Field(ge=0)] = 12,
    deep: bool = False,
) -> State[Any]:
    """Keep up a bank as a Prefect flow. One in an object store is opened with the options of the worker's environment.

    Args:
        bank: The bank, as the worker sees it.
        keep: Newest releases that stay.
        keep_monthly: Months, counted back from the newest, whose last release stays.
        deep: Verify every byte, which takes as long as reading the bank.
    """
    tag_run("", bank)
    chores = Chores(bank, keep, keep_monthly, deep)
    try:
        for name, work in chores.all():
            error = _run(chores, name, work)
            if error is not None:
                return Failed(message=str(error), data=error)
    finally:
        create_table_artifact(chores.table(), key("upkeep", bank), f"upkeep of {escaped(bank)}")
    return Completed(message="; ".join(f"{name}: {words}" for name, words, _ in chores.done))


@dataclass
class Chores:
    """The chores of a bank, in their order. ``done`` has (name, outcome in words, seconds) of those that ran."""

    bank: str
    keep: int
    keep_monthly: int
    deep: bool
    done: list[tuple[str, str, float]] = field(default_factory=list)

    def all(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("verify", self.verified),
            ("compact", self.compacted),
            ("prune", self.pruned),
            ("drift", self.drift),
            ("due", self.due),
        ]

    def table(self) -> list[dict[str, str]]:
        """What each chore did, as rows that Prefect shows."""
        names = ("chore", "outcome", "seconds")
        return [
            dict(zip(names, (name, escaped(words), f"{seconds:.1f}"), strict=True))
            for name, words, seconds in self.done
        ]

    def verified(self) -> str:
        """Raises ``BankError`` for a bank that is damaged."""
        result = verify(open_bank(self.bank).store, self.deep)
        if not result.whole:
            more = f" and {len(result.findings) - 1:,} more" if len(result.findings) > 1 else ""
            raise BankError(f"The bank {self.bank} is damaged, and nothing else was done: {result.findings[0]}{more}")
        hashed = f", {result.hashed:,} of them hashed" if result.deep else ""
        return f"whole: {result.files:,} files{hashed}, {result.bytes / 1e6:,.1f} MB"

    def compacted(self) -> str:
        """A bank whose build has begun and not ended is left for the next time."""
        if not upkeep_dues(open_bank(self.bank)):
            return "not due"
        try:
            outcome = compact(self.bank, sink=log_lines())
        except BuildUnfinished:
            return "left for the next time: a build has begun and not ended"
        before, after = (sum(counts[side] for counts in outcome.datasets.values()) for side in (0, 1))
        return f"{before:,} fragments are {after:,}, release {outcome.written}" if outcome.written else "not due"

    def pruned(self) -> str:
        outcome = prune(self.bank, self.keep, self.keep_monthly, sink=log_lines())
        counts = f"{len(outcome.ended):,} releases ended, {len(outcome.staying):,} stay"
        return f"{counts}, about {outcome.freed / 1e6:,.1f} MB freed"

    def drift(self) -> str:
        results = open_bank(self.bank).view.record("cluster").get("found", {})
        if "drift" not in results:
            return "no tree of clusters"
        return f"{results['drift']} of the events added since the tree was fitted, imbalance {results.get('imbalance')}"

    def due(self) -> str:
        bank = open_bank(self.bank)
        return " ".join([*dues(bank.release.lineage), *upkeep_dues(bank)]) or "nothing"


def _run(chores: Chores, name: str, work: Callable[[], str]) -> MnemicError | None:
    """Do a chore as a task that is called like it; its sentence is the task's message. The error it ended with."""
    errors: list[MnemicError] = []

    def chore() -> State[Any]:
        started = time.monotonic()
        try:
            words = work()
        except MnemicError as error:
            chores.done.append((name, str(error), time.monotonic() - started))
            errors.append(error)
            return Failed(message=str(error), data=error)
        chores.done.append((name, words, time.monotonic() - started))
        return Completed(message=words)

    return errors[-1] if run_as_task(name, chore).is_failed() else None
