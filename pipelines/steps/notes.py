"""The steps `notes`, `relations` and `summaries`: rows from good answers about packs that there still are.

Answers about other packs stay in `calls`, where they are paid for, and have no rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Snapshot, Store
from mnemic.errors import TooManyRejects
from mnemic.notes.datasets import ANSWER, NOTES_SPEC, SUMMARIES_SPEC
from mnemic.relations.datasets import RELATIONS_SPEC
from operators.written.facts import FactNotes
from operators.written.prompts import FACTS, SUMMARY, WrittenPrompt
from operators.written.relations import WrittenRelations
from operators.written.summaries import PackSummaries
from operators.written.triples import TRIPLES
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.steps.derive import DeriveStep
from pipelines.steps.rejects import ALWAYS_TOLERATED

_READ = ("document", "tenant", "session", "pack", "part", "prompt", "model", "units", "answer")


@dataclass(frozen=True)
class NotesStep(DeriveStep):
    operator: FactNotes | PackSummaries | WrittenRelations

    def check(self, store: Store, max_rejects: float) -> None:
        """A reject is a fact or summary here, and no input: the section has a limit of its own."""
        snapshot, notes = store["rejects"].snapshot(), store[self.target.name].require().count()
        where = f"step = '{self.name}' AND fingerprint = '{self.record.fingerprint}' AND severity = 'reject'"
        rejects = 0 if snapshot is None else snapshot.count(where)
        if rejects > max(ALWAYS_TOLERATED, self.operator.max_rejected * (rejects + notes)):
            kind, share = self.operator.written, self.operator.max_rejected
            raise TooManyRejects(
                f"Of {rejects + notes:,} {kind} that the language model wrote, {rejects:,} do not stand in their "
                f"sources, more than the share of {share:g} that `max_rejected` of `{self.name}` allows. `mnemic show "
                "BANK --failures` lists them; take a stronger model, or raise `max_rejected`."
            )

    def _inputs(self, store: Store, origin: Snapshot) -> KeySet:
        packs = KeySet(store["packs"].require().scan(["pack"], batch_size=65536))
        rows = origin.scan(["call", "pack"], self.where, batch_size=65536)
        return KeySet(batch.filter(pa.array(packs.has(batch.select(["pack"])))).select(["call"]) for batch in rows)


def notes_step(record: Record, operator: FactNotes, after: tuple[str, ...]) -> NotesStep:
    """The step of the section `notes`."""
    return _step(record, operator, NOTES_SPEC, after, FACTS)


def summaries_step(record: Record, operator: PackSummaries, after: tuple[str, ...]) -> NotesStep:
    """The step of the section `summaries`."""
    return _step(record, operator, SUMMARIES_SPEC, after, SUMMARY)


def relations_step(record: Record, operator: WrittenRelations, after: tuple[str, ...]) -> NotesStep:
    """The step of the section `relations`: of triples, and of the attributes among the facts."""
    return _step(record, operator, RELATIONS_SPEC, after, FACTS, TRIPLES)


def _step(
    record: Record,
    operator: FactNotes | PackSummaries | WrittenRelations,
    target: DatasetSpec,
    after: tuple[str, ...],
    *prompts: WrittenPrompt,
) -> NotesStep:
    of_prompts = " OR ".join(f"prompt = '{prompt.name}'" for prompt in prompts)
    where = f"kind = '{ANSWER}' AND verdict = 'good' AND asked = '{record.reads['calls']}' AND ({of_prompts})"
    return NotesStep(record, operator, "calls", target, _READ, ("call",), ("call",), after, where)
