"""`select` in torch: the same candidates, and their distances but for rounding.

For GPUs, and for processors where numba, which loading a bank does not need, is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.neighbours.select import NONE

if TYPE_CHECKING:
    import torch

    from mnemic.neighbours.codes import Codes

_PLACE = 0xFFFFFFFF
_ELEMENTS = 1 << 26  # of keys that are gathered at once


class Candidates:
    """As `mnemic.neighbours.select.Candidates`, on any device."""

    def __init__(self, queries: Codes, owner: torch.Tensor, count: int) -> None:
        import torch

        self.scale, self.owner, self.count = queries.scale, owner, count
        self.candidates = torch.full((len(queries), count), NONE, dtype=torch.int64, device=owner.device)

    def take(self, which: torch.Tensor, products: torch.Tensor, stored: Codes, owner: torch.Tensor, first: int) -> None:
        import torch

        factor = -2.0 * self.scale[which]
        scores = stored.norm + (factor[:, None] * stored.scale) * products.float()
        bits = scores.view(torch.int32).long()
        keys = (torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits) << 32) | (first + torch.arange(len(owner)).to(bits))
        keys.masked_fill_(self.owner[which][:, None] == owner, NONE)
        if keys.shape[1] > self.count:
            keys = keys.topk(self.count, dim=1, largest=False, sorted=False).values
        every = torch.cat([self.candidates[which], keys], 1)
        self.candidates[which] = every.topk(self.count, dim=1, largest=False, sorted=False).values

    def tighten(self) -> None:
        """Nothing to do: every tile is compared with the best so far."""

    def nearest(
        self, queries: torch.Tensor, keys: torch.Tensor, rows: torch.Tensor, k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        import torch

        exact = self._exact(queries, keys, rows)
        nearest = exact.sort(1).values[:, :k]
        missing = nearest == NONE
        squared = (nearest >> 32).to(torch.int32).view(torch.float32).masked_fill(missing, torch.inf)
        nearest_rows = (nearest & _PLACE).masked_fill(missing, -1)
        padding = (0, k - nearest_rows.shape[1])
        return (
            torch.nn.functional.pad(squared, padding, value=torch.inf).cpu().numpy(),
            torch.nn.functional.pad(nearest_rows, padding, value=-1).cpu().numpy(),
        )

    def best(
        self, queries: torch.Tensor, keys: torch.Tensor, rows: torch.Tensor
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return self.candidates.cpu().numpy(), self._exact(queries, keys, rows).cpu().numpy()

    def _exact(self, queries: torch.Tensor, keys: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        import torch

        exact = torch.full_like(self.candidates, NONE)
        step = max(1, _ELEMENTS // (self.count * keys.shape[1]))
        for begin in range(0, len(queries), step):
            candidates = self.candidates[begin : begin + step]
            places = torch.where(candidates == NONE, 0, candidates & _PLACE)
            distances = (keys[places].float() - queries[begin : begin + step, None].float()).square_().sum(-1)
            named = (distances.view(torch.int32).long() << 32) | rows[places]
            exact[begin : begin + step] = torch.where(candidates == NONE, NONE, named)
        return exact
