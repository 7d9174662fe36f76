"""Adam for the rows of a table: a row has moments and steps of its own, and a step touches those that fired.

A row's bias correction counts the row's own steps, so one that fires for the first time late moves as far as one that
fires early. Rows that did not fire keep their bytes: neither momentum nor decay moves them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from operators.slots.table import TrainedTable

BETAS = (0.9, 0.95)
EPSILON = 1e-8


class RowAdam(torch.optim.Optimizer):
    """Moves the rows of ``table`` at the rate ``lr``."""

    def __init__(self, table: TrainedTable, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__([{"params": []}], {"lr": lr, "weight_decay": weight_decay})
        self.table = table
        self._first, self._second = ([torch.zeros_like(part) for part in table.parts] for _ in range(2))
        self._steps = torch.zeros(table.layout.slots, dtype=torch.int64, device=table.parts[0].device)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.table.forget()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        for slots, gradients in self.table.gradients():
            self._steps[slots] += 1
            self.table.touched[slots] = True
            steps = self._steps[slots][:, None].float()
            own = zip(self.table.parts, gradients, self._first, self._second, strict=True)
            for part, gradient, first, second in own:
                mean = first.index_select(0, slots).lerp_(gradient, 1.0 - BETAS[0])
                square = second.index_select(0, slots).lerp_(gradient.square_(), 1.0 - BETAS[1])
                first[slots], second[slots] = mean, square
                size = square.div_(1.0 - BETAS[1] ** steps).sqrt_().add_(EPSILON)
                moved = mean.div_(1.0 - BETAS[0] ** steps).div_(size).mul_(group["lr"])
                rows = part.index_select(0, slots).mul_(1.0 - group["lr"] * group["weight_decay"])
                part[slots] = rows.sub_(moved)

    def packed(self) -> dict[str, Tensor]:
        """Moments and steps of the rows that ever fired, in the order of their slots."""
        slots = self.table.rows()
        first, second = (torch.stack([one[slots] for one in moments], 1) for moments in (self._first, self._second))
        return {"first": first, "second": second, "steps": self._steps[slots]}

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Take up those of `packed`; the table has its rows again already."""
        slots = self.table.rows()
        for number in range(len(self.table.parts)):
            self._first[number][slots] = moments["first"][:, number].to(self._first[number])
            self._second[number][slots] = moments["second"][:, number].to(self._second[number])
        self._steps[slots] = moments["steps"].to(self._steps)
