"""The values under training: only rows that fired are copied, have gradients, and move.

Nothing here looks at all rows, so a step costs as much for a large table as for a small one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from mnemic.slots.layout import EXPERTS, SlotLayout

_PIECE = 1 << 16
"""Numbers of the rows that move at once on a processor."""

_LARGER = 64
"""Times as many on a GPU."""

_ALIGNED = 64
"""Rows of a piece are a multiple of this, so that vector instructions take the same numbers as they would of all."""


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
        rows = [part.index_select(0, different) for part in self.parts]
        if torch.is_grad_enabled():
            self.uses[different] += counts
            self._fetched.append((different, [row.requires_grad_() for row in rows]))
        return rows, places

    def forget(self) -> None:
        """Let go of what was fetched, and of its gradients."""
        self._fetched.clear()

    def gradients(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """The slots that fired since `forget` and may move, ascending, and the gradients of their vectors.

        They come in pieces of int64 [u] and float32 [u, value] each, small enough for a processor's cache.
        """
        fetched = [(slots, [row.grad for row in rows]) for slots, rows in self._fetched if rows[0].grad is not None]
        if self.open is not None:
            fetched = [
                (slots[free], [None if one is None else one[free] for one in gradients])
                for (slots, gradients), free in ((one, self.open[one[0]]) for one in fetched)
            ]
        every = torch.unique(torch.cat([self.uses[:0], *(slots for slots, _ in fetched)]))
        if not len(every):
            return
        numbers = _PIECE * (1 if every.device.type == "cpu" else _LARGER)
        pieces = every.split(max(1, numbers // self.layout.value // _ALIGNED) * _ALIGNED)
        first = torch.stack([piece[0] for piece in pieces])
        bounds = [[*torch.searchsorted(slots, first).tolist(), len(slots)] for slots, _ in fetched]
        for number, piece in enumerate(pieces):
            sums = [whole.new_zeros((len(piece), whole.shape[1])) for whole in self.parts]
            for (slots, gradients), bound in zip(fetched, bounds, strict=True):
                some = slice(bound[number], bound[number + 1])
                places = torch.searchsorted(piece, slots[some])
                for added, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        added.index_add_(0, places, gradient[some])
            yield piece, sums

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
