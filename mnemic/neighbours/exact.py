"""Exact nearest neighbours: every query is compared with every row. For small stores, and to check other searches.

Candidates come from products in float32 over query blocks of constant shape, with a running top-k. They are scored
again by direct difference, and ties go to the smaller row number. A result counts only when the rounding bound of the
product proves that no other row can be nearer. The few queries with long ties are searched again without the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

BLOCK = 512
"""Queries of one product."""

_STORE_BLOCK = 32768
_SLACK = 64
_ROUNDING = 1e-5  # bound on the product's error, relative to |q|^2 + max |k|^2; measured below 1e-6 at 576 components


class ExactSearch:
    """``keys`` float16 [n, d] and the number of each one's ``document`` int64 [n], ascending, on one device.

    Fewer queries than a block are ``padded`` to one, which pays where there are many blocks of them.
    """

    def __init__(self, keys: torch.Tensor, document: torch.Tensor, padded: bool = True) -> None:
        self.padded = padded
        self.keys, self.document = keys, document
        self.norms = _blockwise_norms(keys)
        self.largest_norm = float(self.norms.max())

    def __len__(self) -> int:
        return len(self.keys)

    def search(
        self, queries: torch.Tensor, document: torch.Tensor, k: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """(squared distances float32 [b, k], rows int64 [b, k]) for queries float16 [b, d], nearest first.

        Rows of the query's own ``document``, int64 [b], are left out; -1 leaves out none. Equal distances are in the
        order of the rows. Where fewer than k rows remain, distance is infinite and the row -1.
        """
        distances = np.full((len(queries), k), np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        count = min(k, len(self))
        for begin in range(0, len(queries), BLOCK):
            end = begin + BLOCK
            near, place = self._block(queries[begin:end], document[begin:end], count)
            distances[begin:end, :count] = near.cpu().numpy()
            rows[begin:end, :count] = place.masked_fill(place == len(self), -1).cpu().numpy()
        return distances, rows

    def _block(self, queries: torch.Tensor, document: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        size = len(queries)
        padding = BLOCK - size if self.padded else 0
        query = torch.nn.functional.pad(queries.float(), (0, 0, 0, padding))
        owner = torch.nn.functional.pad(document, (0, padding), value=-1)
        candidates, bound = self._candidates(query, owner, min(k + _SLACK, len(self)))
        distances, rows = self._rescore(query, candidates, k)
        error = _ROUNDING * (query.square().sum(1) + self.largest_norm)
        unproven = (distances[:, -1] + 2 * error >= bound) & torch.isfinite(bound)
        for row in torch.nonzero(unproven[:size]).flatten().tolist():
            reach = float(distances[row, -1] + 2 * error[row])
            distances[row], rows[row] = self._search_again(query[row], int(owner[row]), reach, k)
        return distances[:size], rows[:size]

    def _candidates(self, query: torch.Tensor, owner: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest by GEMM, int64 [block, count], n for masked ones; and the largest distance, float32 [block]."""
        import torch

        best = torch.full((query.shape[0], 0), torch.inf, device=query.device)
        rows = torch.zeros((query.shape[0], 0), dtype=torch.int64, device=query.device)
        for begin in range(0, self.keys.shape[0], _STORE_BLOCK):
            keys = self.keys[begin : begin + _STORE_BLOCK].float()
            scores = torch.addmm(self.norms[begin : begin + _STORE_BLOCK][None, :], query, keys.T, alpha=-2.0)
            self._mask(scores, owner, begin)
            near, place = scores.topk(min(count, keys.shape[0]), dim=1, largest=False)
            best, rows = torch.cat([best, near], 1), torch.cat([rows, place + begin], 1)
            if best.shape[1] > count:
                best, place = best.topk(count, dim=1, largest=False)
                rows = rows.gather(1, place)
        rows = rows.masked_fill(torch.isinf(best), self.keys.shape[0])
        bound = torch.where(
            torch.tensor(count < self.keys.shape[0], device=query.device),
            best.amax(1) + query.square().sum(1),
            torch.inf,
        )
        return rows, bound

    def _mask(self, scores: torch.Tensor, owner: torch.Tensor, begin: int) -> None:
        """Set the score of a row and a query of one document to infinity; ``scores`` is float32 [block, rows].

        Store rows are ordered by document, so only the columns between the queries' outermost documents are compared.
        """
        import torch

        block = self.document[begin : begin + scores.shape[1]]
        asking = owner[owner >= 0]
        if asking.numel():
            low = int(torch.searchsorted(block, asking.min()))
            high = int(torch.searchsorted(block, asking.max(), right=True))
            if low < high:
                scores[:, low:high].masked_fill_(block[None, low:high] == owner[:, None], torch.inf)

    def _rescore(self, query: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The k nearest of ``rows`` int64 [block, count] by direct difference: (distances, rows), each [block, k]."""
        import torch

        rows = rows.sort(1).values
        distances = torch.empty(rows.shape, device=query.device)
        # On a CPU the differences must stay in the cache: 4 MB at a time take a quarter of the time of 32 MB.
        elements = 1 << (20 if query.device.type == "cpu" else 23)
        step = max(1, elements // (rows.shape[1] * query.shape[1]))
        for begin in range(0, rows.shape[0], step):
            part = rows[begin : begin + step].clamp(max=self.keys.shape[0] - 1)
            distances[begin : begin + step] = (
                (self.keys[part].float() - query[begin : begin + step, None]).square().sum(2)
            )
        distances.masked_fill_(rows == self.keys.shape[0], torch.inf)
        order = torch.argsort(distances, dim=1, stable=True)[:, :k]
        return distances.gather(1, order), rows.gather(1, order)

    def _search_again(self, query: torch.Tensor, owner: int, reach: float, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Exact search of one query, [d], among all rows within ``reach`` by GEMM; for ties longer than the slack."""
        import torch

        limit = reach - float(query.square().sum())
        within = []
        for begin in range(0, self.keys.shape[0], _STORE_BLOCK):
            keys = self.keys[begin : begin + _STORE_BLOCK].float()
            scores = torch.addmv(self.norms[begin : begin + _STORE_BLOCK], keys, query, alpha=-2.0)
            scores.masked_fill_(self.document[begin : begin + _STORE_BLOCK] == owner, torch.inf)
            within.append(torch.nonzero(scores <= limit).flatten() + begin)
        distances, rows = self._rescore(query[None], torch.cat(within)[None], k)
        return distances[0], rows[0]


def _blockwise_norms(keys: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([block.float().square().sum(1) for block in torch.split(keys, _STORE_BLOCK)])
