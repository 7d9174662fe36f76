"""The step `notes`: notes from good answers about packs that there still are.

Answers about other packs stay in `calls`, where they are paid for, and have no notes.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from mnemic.errors import TooManyRejects
from mnemic.notes.datasets import ANSWER, NOTES_SPEC
from operators.written.facts import FactNotes
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.steps.derive import DeriveStep
from pipelines.steps.rejects import ALWAYS_TOLERATED

_READ = ("document", "tenant", "session", "pack", "part", "prompt", "model", "units", "answer")


@dataclass(frozen=True)
class NotesStep(DeriveStep):
    operator: FactNotes

    def check(self, store: Store, max_rejects: float) -> None:
        """A reject is a fact here, and no input: the section has a limit of its own, over facts."""
        snapshot, notes = store["rejects"].snapshot(), store[NOTES_SPEC.name].require().count()
        where = f"step = '{self.name}' AND fingerprint = '{self.record.fingerprint}' AND severity = 'reject'"
        rejects = 0 if snapshot is None else snapshot.count(where)
        if rejects > max(ALWAYS_TOLERATED, self.operator.max_rejected * (rejects + notes)):
            raise TooManyRejects(
                f"Of {rejects + notes:,} facts that the language model wrote, {rejects:,} do not stand in their "
                f"sources, more than the share of {self.operator.max_rejected:g} that `max_rejected` of `notes` "
                "allows. `mnemic show BANK --failures` lists them; take a stronger model, or raise `max_rejected`."
            )

    def _inputs(self, store: Store, origin: Snapshot) -> KeySet:
        packs = KeySet(store["packs"].require().scan(["pack"], batch_size=65536))
        rows = origin.scan(["call", "pack"], self.where, batch_size=65536)
        return KeySet(batch.filter(pa.array(packs.has(batch.select(["pack"])))).select(["call"]) for batch in rows)


def notes_step(record: Record, operator: FactNotes, after: tuple[str, ...]) -> NotesStep:
    """The step of the section `notes`."""
    where = f"kind = '{ANSWER}' AND verdict = 'good' AND asked = '{record.reads['calls']}'"
    return NotesStep(record, operator, "calls", NOTES_SPEC, _READ, ("call",), ("call",), after, where)
