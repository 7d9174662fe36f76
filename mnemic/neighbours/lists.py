"""Nearest neighbours in list-major order: keys are sorted by list, and a list meets all its queries in one product.

An inverted file that answers one query at a time reads every list once for each query. Here a list is read once for
thousands of queries, and its distances are a matrix product (compare kNN-LM's faiss index, arXiv 1911.00172 section 4).
Integer products (`codes`) choose k candidates and some more, which the exact distance of the stored keys scores again.
Everything on the way is exact in integers or elementwise in float32. So a query's answer does not depend on its batch,
nor on the part of the store that holds a list (`parts`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.compiled import can_compile
from mnemic.neighbours.codes import Coder, Codes, products, rounded
from mnemic.neighbours.layout import InMemoryKeys, Layout, centroids_of, coder_of, lists_of, measured, nearest_lists
from mnemic.threads import side_by_side

if TYPE_CHECKING:
    import torch

    from mnemic.neighbours.select import Candidates

    Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

SLACK = 32
"""Candidates beyond k that are scored exactly; rounding moves fewer across the border of k."""

TILE = 128
"""Queries of one product, on a processor: products and candidates stay in its cache."""

ROUNDS = (1, 3, 8)
"""Lists that are probed before the next round: candidates of the nearest lists rule out most rows of the others."""

_QUERIES = 4096  # whose candidates are kept at a time
_FEWEST = 4  # times k rows that the lists of a query hold on average


class Lists:
    """``keys`` float16 [n, d] and the number of each one's ``document`` int64 [n], sorted by list, on one device.

    ``rows`` int64 [n] are names of the keys, ascending; by default their numbers.
    """

    def __init__(
        self,
        keys: torch.Tensor,
        document: torch.Tensor,
        layout: Layout | None = None,
        coder: Coder | None = None,
        rows: torch.Tensor | None = None,
        codes: Codes | None = None,
    ) -> None:
        import torch

        self.coder = coder_of(InMemoryKeys(keys, document)) if coder is None else coder
        codes = self.coder.codes(keys) if codes is None else codes
        in_memory = InMemoryKeys(keys, document, codes)
        self.centroids = centroids_of(in_memory, self.coder) if layout is None else layout.centroids.to(keys.device)
        self.heads = rounded(self.centroids)
        nearest = lists_of(self.heads, codes)
        order = torch.argsort(nearest, stable=True)
        self.rows = order if rows is None else rows[order]
        self.starts = [0, *torch.cumsum(torch.bincount(nearest, minlength=len(self.centroids)), 0).tolist()]
        self.codes, self.keys, self.document = codes[order], keys[order], document[order]
        self.probes = len(self.centroids) if layout is None else layout.probes

    @property
    def layout(self) -> Layout:
        return Layout(self.centroids, self.probes)

    def __len__(self) -> int:
        return len(self.keys)

    def search(self, queries: torch.Tensor, document: torch.Tensor, k: int, probes: int | None = None) -> Found:
        """(squared distances float32 [b, k], rows int64 [b, k]) for queries float16 [b, d], nearest first.

        Rows of the query's own ``document``, int64 [b], are left out; -1 leaves out none. Equal distances are in the
        order of the rows. A query whose lists hold fewer than k rows probes all lists. Where the store has no more,
        distance is infinite and the row -1.
        """
        import torch

        count = min(k, len(self))
        probed = lists_to_look_at(self.probes if probes is None else probes, count, len(self.heads), len(self))
        codes = self.coder.codes(queries)
        nearest = nearest_lists(self.heads, codes, probed)
        order = torch.argsort(nearest[:, 0], stable=True) if len(queries) else nearest[:, 0]
        blocks = list(torch.split(order, _QUERIES))
        distances = np.full((len(queries), k), np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)

        def answer(block: torch.Tensor) -> None:
            nearest_rows = self._search(queries[block], codes[block], document[block], nearest[block], count)
            place = block.cpu().numpy()
            distances[place, :count], rows[place, :count] = nearest_rows

        side_by_side(answer, blocks, queries.device.type)
        short = np.flatnonzero(rows[:, count - 1] < 0)
        if len(short) and probed < len(self.heads):
            again = torch.from_numpy(short).to(queries.device)
            distances[short], rows[short] = self.search(queries[again], document[again], k, len(self.heads))
        return distances, rows

    def assigned(self, codes: Codes) -> torch.Tensor:
        """The list that each of ``codes`` [b] belongs to: int64 [b]."""
        return lists_of(self.heads, codes)

    def measure(self, recall: float) -> dict[str, float]:
        """Set ``probes`` to the fewest that reach this recall of the 64 nearest, on 512 rows of the store."""
        measurement = measured(InMemoryKeys(self.keys, self.document, self.codes), self.coder, self.centroids, recall)
        self.probes = measurement.probes
        return {"lists": len(self.heads), "probes": measurement.probes, "recall": measurement.recall}

    def _search(
        self, queries: torch.Tensor, codes: Codes, document: torch.Tensor, nearest: torch.Tensor, k: int
    ) -> Found:
        """`search` of one block of queries [b, d], which probes the lists ``nearest`` int64 [b, probes]."""
        candidates = self.candidates(codes, document, nearest, min(k + SLACK, len(self)))
        return candidates.nearest(queries, self.keys, self.rows, k)

    def candidates(self, codes: Codes, document: torch.Tensor, nearest: torch.Tensor, count: int) -> Candidates:
        """The ``count`` best rows of the lists ``nearest`` int64 [b, probes] of each query, by estimated distance."""
        import torch

        if document.device.type == "cpu" and can_compile():
            from mnemic.neighbours import select as selecting
        else:
            from mnemic.neighbours import select_torch as selecting  # type: ignore[no-redef]
        candidates: Candidates = selecting.Candidates(codes, document, count)
        tile = TILE if document.device.type == "cpu" else _QUERIES
        for first, last in pairwise((0, *ROUNDS, nearest.shape[1])):
            for which, begin, end in self.tiles(nearest[:, first:last]):
                stored = self.codes[begin:end]
                for part in torch.split(which, tile):
                    near = products(codes.code.index_select(0, part), stored.code)
                    candidates.take(part, near, stored, self.document[begin:end], begin)
            if last < nearest.shape[1]:
                candidates.tighten()
        return candidates

    def tiles(self, lists: torch.Tensor) -> Iterator[tuple[torch.Tensor, int, int]]:
        """(queries int64 [m], begin and end of the list that they probe), of ``lists`` int64 [b, probes]."""
        import torch

        if not lists.shape[1]:
            return
        named, order = torch.sort(lists.reshape(-1), stable=True)
        queries = order // lists.shape[1]
        present, counts = torch.unique_consecutive(named, return_counts=True)
        for part, name in zip(torch.split(queries, counts.tolist()), present.tolist(), strict=True):
            if self.starts[name] < self.starts[name + 1]:
                yield part, self.starts[name], self.starts[name + 1]


def lists_to_look_at(probes: int, count: int, lists: int, rows: int) -> int:
    """``probes``, or as many as hold a few times the rows that are ``count``, of a store's ``lists``."""
    return min(lists, max(probes, math.ceil(_FEWEST * count * lists / rows)))
