"""The kind of memory "slots": a table beside feed-forward layers, of which each position reads a few rows.

Product keys (Memory+), experts of one unit (PEER) and hashed n-grams (Engram) are layouts of one table; see
`mnemic.slots.layout`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mnemic.attach.entry import Entries, Entry
from mnemic.attach.trail import Trail
from mnemic.errors import ModelError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, inside_weight
from mnemic.memories.reopened import Reopened
from mnemic.memories.trained import StoredKind, stored_weights
from mnemic.slots.layout import SlotLayout
from mnemic.slots.rows import PLACES, RowPlace, SlotRows
from mnemic.view import View

if TYPE_CHECKING:
    import torch

    from mnemic.attach.host import Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.slots.finders import Finders, SlotTable

NAME = "slots"
"""Of the kind and of its memory: a bank has one."""


class SlotsKind(StoredKind):
    """A release has one such memory where its recipe has `slots`."""

    name, title = NAME, "table of slots"

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredSlots(view, info)


SLOTS = SlotsKind()


@dataclass(frozen=True)
class StoredSlots(Reopened):
    """The slots of one release. ``place`` is where their values are; None: by their size."""

    view: View
    info: MemoryInfo
    place: RowPlace | None = None
    inside = True

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredSlots:
        return self

    @cached_property
    def layout(self) -> SlotLayout:
        return SlotLayout.of_config(self.info.config, self.info.name)

    @cached_property
    def module(self) -> Finders:
        """What finds slots, and makes of their values what a layer adds."""
        import torch

        from mnemic.slots.finders import Finders

        with torch.inference_mode(False):
            return Finders.from_bytes(stored_weights(self.view, self.info), self.layout).requires_grad_(False)

    @cached_property
    def rows(self) -> SlotRows:
        return SlotRows(self.view, self.layout, self.place)

    def at(self, place: RowPlace) -> StoredSlots:
        """The memory with its values in "memory", on the model's "device", or in a "mapped" file."""
        if place not in PLACES:
            raise ModelError(f"The values of slots can be at {', '.join(PLACES)}, not at {place!r:.40}; give one.")
        return replace(self, place=place)

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        share = inside_weight(self.info, weight)
        if share == 0:
            return Entry()
        layout = self.layout
        width = int(host.model.get_output_embeddings().weight.shape[1])
        if layout.layers[-1] >= len(host.blocks) or layout.width != width:
            raise ModelError(
                f"The memory {self.info.name} reads {layout.width} numbers up to the layer {layout.layers[-1]}, and "
                f"the model has {width} in {len(host.blocks)}; attach it to the model that it was made for."
            )
        trail = Trail(host, layout.longest) if layout.hashed else None
        entries = Entries(() if trail is None else (trail,))
        try:
            for number, layer in enumerate(layout.layers):
                path = SlotPath(self.module, self.rows, number, trail, share)
                entries.entries.append(host.beside(layer, path))
        except BaseException:
            entries.close()
            raise
        return entries

    def scores(self, rows: HeldOutRows) -> None:
        """Only a pass of the model can tell."""


@dataclass(eq=False)
class SlotPath:
    """What the layer at place ``number`` adds, times ``weight``; ``trail`` gives the last tokens, None: not read."""

    finders: Finders
    table: SlotTable
    number: int
    trail: Trail | None
    weight: float

    def __deepcopy__(self, memo: dict[int, Any]) -> SlotPath:
        """A copy of the model shares finders and table."""
        import copy

        return replace(self, trail=copy.deepcopy(self.trail, memo))

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """[batch, positions, width] for ``hidden`` of that shape."""
        if next(self.finders.parameters()).device != hidden.device:
            self.finders.to(hidden.device)
        contexts = None if self.trail is None else self.trail.contexts
        added = self.finders.added(self.number, hidden, contexts, self.table)
        return added if self.weight == 1.0 else added * self.weight
