"""The table of the last release, from which a sparse update goes on.

All of it is read from what the release pins, so a kill while the new table is written changes nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mnemic.dataset import Snapshot, Store
from mnemic.facts import mapping
from mnemic.quoting import quoted
from mnemic.release import releases
from pipelines.identity import Record
from pipelines.steps.block_texts import TRAINING

if TYPE_CHECKING:
    from operators.slots.continual import Learnt

_PINNED = ("documents", "memories", "slots")


class Trains(Protocol):
    """What is asked of the step."""

    @property
    def record(self) -> Record: ...

    def mine(self, memories: Snapshot) -> str: ...

    def with_corpus(self, documents: Snapshot) -> Record: ...


@dataclass(frozen=True)
class LearntSlots:
    """Versions of the datasets of a release, by name, and the id of its memory."""

    versions: dict[str, int]
    memory: str

    def documents(self, store: Store) -> frozenset[str]:
        """The ids of the documents that it was trained on."""
        return _ids(store["documents"].require(self.versions["documents"]))

    def read(self, store: Store) -> Learnt:
        """The memory, and the use of its slots."""
        import torch
        from safetensors.torch import load

        from mnemic.slots.layout import SlotLayout
        from mnemic.slots.rows import unpacked
        from operators.slots.continual import Learnt, SlotUse

        memories = store["memories"].require(self.versions["memories"])
        row = memories.table(["config", "metrics", "weights"], f"id = {quoted(self.memory)}").to_pylist()[0]
        layout = SlotLayout.of_config(mapping(row["config"], "The config of the slots"), "slots")
        table = store["slots"].require(self.versions["slots"]).table(["slot", "uses", "sequences", "value"])
        slots = torch.from_numpy(table["slot"].to_numpy().copy())
        uses, sequences = (torch.zeros(layout.slots, dtype=torch.int64) for _ in range(2))
        uses[slots] = torch.from_numpy(table["uses"].to_numpy().copy())
        sequences[slots] = torch.from_numpy(table["sequences"].to_numpy().copy())
        values = unpacked(table["value"].combine_chunks(), layout)
        total = int(mapping(row["metrics"], "The metrics of the slots")["sequences"])
        tensors = {**load(row["weights"]), "slots": slots, "values": values}
        return Learnt(tensors, SlotUse(uses, sequences, total))


def learnt_before(step: Trains, store: Store, documents: Snapshot) -> LearntSlots | None:
    """The table of the newest release that has one of these settings, if all of its documents are among ``documents``.

    None where a document went since: what it taught is in all slots that it fired.
    """
    for release in reversed(releases(store)):
        versions = {name: release.versions[name] for name in _PINNED if name in release.versions}
        if len(versions) < len(_PINNED):
            continue
        memories = store["memories"].require(versions["memories"])
        rows = memories.table(["id", "record"], f"{step.mine(memories)} AND final").to_pylist()
        if not rows:
            continue
        stored = mapping(rows[-1]["record"], "The record of the slots")
        earlier = store["documents"].require(versions["documents"])
        if step.record.changes_from(stored) or stored["corpus"] != step.with_corpus(earlier).corpus:
            return None
        return LearntSlots(versions, rows[-1]["id"]) if _ids(earlier) < _ids(documents) else None
    return None


def _ids(documents: Snapshot) -> frozenset[str]:
    return frozenset(documents.table(["id"], TRAINING)["id"].to_pylist())
