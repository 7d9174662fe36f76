"""The values under training: only rows that fired are copied, have gradients, and move.

Nothing here looks at all rows, so a step costs as much for a large table as for a small one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from mnemic.slots.layout import EXPERTS, SlotLayout


class TrainedTable:
    """A table as `mnemic.slots.finders.SlotTable`; ``parts`` are its vectors, float32 [slots, value] each.

    ``uses`` int64 [slots] counts how often a slot fired while it was trained, ``touched`` whether it ever did. Where
    ``open``, bool [slots], is given, the other slots stay as they are.
    """

    def __init__(self, layout: SlotLayout, device: torch.device | str = "cpu") -> None:
        shape = (layout.slots, layout.value)
        self.layout = layout
        self.parts = [torch.zeros(shape, device=device) for _ in range(layout.parts)]
        self.uses = torch.zeros(layout.slots, dtype=torch.int64, device=device)
        self.touched = torch.zeros(layout.slots, dtype=torch.bool, device=device)
        self.open: Tensor | None = None
        self._fetched: list[tuple[Tensor, list[Tensor]]] = []
        self._watching: list[Tensor] | None = None

    def start(self, seed: int, spread: float) -> None:
        """Draw the values from ``seed``: rows up of experts as widely as the model's own, ``spread``; rows down are 0.

        Values of other layouts are drawn so that a vector has length 1.
        """
        draw = torch.Generator().manual_seed(seed)
        width = spread if self.layout.layout == EXPERTS else self.layout.value**-0.5
        self.parts[0].copy_(torch.empty(self.parts[0].shape).normal_(0, width, generator=draw))

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """The slots of every `fetch` while the block runs, int64 [n, fired] each; the caller may clear the list."""
        self._watching = []
        try:
            yield self._watching
        finally:
            self._watching = None

    def fetch(self, slots: Tensor) -> tuple[list[Tensor], Tensor]:
        if self._watching is not None:
            self._watching.append(slots)
        different, places, counts = torch.unique(slots, return_inverse=True, return_counts=True)
        rows = [part[different] for part in self.parts]
        if torch.is_grad_enabled():
            self.uses[different] += counts
            self._fetched.append((different, [row.requires_grad_() for row in rows]))
        return rows, places

    def forget(self) -> None:
        """Let go of what was fetched, and of its gradients."""
        self._fetched.clear()

    def gradients(self) -> tuple[Tensor, list[Tensor]]:
        """The slots that fired since `forget` and may move, ascending int64 [u], and the gradients of their vectors.

        Each is float32 [u, value].
        """
        fetched = [(slots, rows) for slots, rows in self._fetched if rows[0].grad is not None]
        if not fetched:
            return torch.zeros(0, dtype=torch.int64), []
        slots, places = torch.unique(torch.cat([slots for slots, _ in fetched]), return_inverse=True)
        sums = []
        for part, whole in enumerate(self.parts):
            sums.append(whole.new_zeros((len(slots), whole.shape[1])))
            every = [
                torch.zeros_like(rows[part]) if rows[part].grad is None else rows[part].grad for _, rows in fetched
            ]
            sums[-1].index_add_(0, places, torch.cat([one for one in every if one is not None]))
        if self.open is None:
            return slots, sums
        free = self.open[slots]
        return slots[free], [one[free] for one in sums]

    def rows(self) -> Tensor:
        """The slots that ever fired, ascending: int64 [u]."""
        return self.touched.nonzero()[:, 0]

    def values(self, slots: Tensor) -> Tensor:
        """Float32 [n, parts, value] of ``slots`` int64 [n]."""
        return torch.stack([part[slots] for part in self.parts], 1)

    def take(self, slots: Tensor, values: Tensor) -> None:
        """Put ``values`` [n, parts, value] in the place of those of ``slots``, which count as touched."""
        for number, part in enumerate(self.parts):
            part[slots] = values[:, number].to(part)
        self.touched[slots] = True
