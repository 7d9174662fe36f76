"""Nearest neighbours in list-major order: keys sorted by coarse list, the queries that look at a list against it as one
product.

An inverted file that answers one query at a time reads every list once for each query; here a list is read once for
thousands of queries, and its distances are a matrix product (compare kNN-LM's faiss index, arXiv 1911.00172 section 4).
Candidates are found by integer products (`codes`), a few more than are wanted, and scored again by the exact distance
of the stored keys. Everything on the way is exact in integers or elementwise in float32, so a query's answer does not
depend on the batch that it comes in.

How many lists a query looks at is measured, not set: on a sample of the store, as many as hold the wanted share of the
64 nearest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.compiled import can_compile
from mnemic.neighbours.codes import Coder, Codes, products, rounded
from mnemic.threads import side_by_side

if TYPE_CHECKING:
    import torch

    Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

ROWS_PER_LIST = 384
SLACK = 32
"""Candidates beyond k that are scored exactly; what rounding moves across the border of k stays below it."""

MEASURED = 64
"""Neighbours whose recall decides how many lists are looked at."""

_SAMPLE = 512
_TRAINING_ROWS = 64  # for each list
_ITERATIONS = 8
_QUERIES = 4096  # whose candidates are kept at a time
_TILE = 128  # queries of one product, on a processor: products and candidates stay in its cache
_ROUNDS = (1, 3, 8)  # nearest lists first: their candidates rule out most rows of the others
_FEWEST = 4  # times k rows that the lists of a query hold on average


@dataclass(frozen=True)
class Layout:
    """What decides a search beside the keys: ``centroids`` float32 [lists, d], and how many lists a query looks at."""

    centroids: torch.Tensor
    probes: int


class Lists:
    """Keys [n, d] of float16 and the number of the document of each, sorted by list; on one device."""

    def __init__(self, keys: torch.Tensor, document: torch.Tensor, layout: Layout | None = None) -> None:
        import torch

        self.coder = Coder.of(keys)
        codes = self.coder.codes(keys)
        centroids = _centroids(codes) if layout is None else layout.centroids
        self.centroids = centroids
        self.heads = rounded(centroids.to(keys.device))
        nearest = torch.cat([self._distances(part).argmin(1) for part in _parts(codes)])
        order = torch.argsort(nearest, stable=True)
        self.rows = order
        self.starts = [0, *torch.cumsum(torch.bincount(nearest, minlength=len(centroids)), 0).tolist()]
        self.codes, self.keys, self.document = codes[order], keys[order], document[order]
        self.probes = len(centroids) if layout is None else layout.probes

    @property
    def layout(self) -> Layout:
        return Layout(self.centroids, self.probes)

    def __len__(self) -> int:
        return len(self.keys)

    def search(self, queries: torch.Tensor, document: torch.Tensor, k: int, probes: int | None = None) -> Found:
        """(squared distances float32 [b, k], rows int64 [b, k]) for queries [b, d] of float16, nearest first.

        Rows of the query's own ``document`` are not found; -1 masks none. Equal distances are in the order of the rows.
        A query whose lists hold fewer than k rows looks at all of them; where the store has no more, distance is
        infinite and the row -1.
        """
        import torch

        wanted = min(k, len(self))
        looked = self.probes if probes is None else probes
        looked = min(len(self.heads), max(looked, math.ceil(_FEWEST * wanted * len(self.heads) / len(self))))
        codes = self.coder.codes(queries)
        nearest = torch.cat([self._nearest(part, looked) for part in _parts(codes)] or [codes.code[:, :looked].long()])
        order = torch.argsort(nearest[:, 0], stable=True) if len(queries) else nearest[:, 0]
        blocks = list(torch.split(order, _QUERIES))
        distances = np.full((len(queries), k), np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)

        def answer(block: torch.Tensor) -> None:
            found = self._search(queries[block], codes[block], document[block], nearest[block], wanted)
            place = block.cpu().numpy()
            distances[place, :wanted], rows[place, :wanted] = found

        side_by_side(answer, blocks, queries.device.type)
        short = np.flatnonzero(rows[:, wanted - 1] < 0)
        if len(short) and looked < len(self.heads):
            again = torch.from_numpy(short).to(queries.device)
            distances[short], rows[short] = self.search(queries[again], document[again], k, len(self.heads))
        return distances, rows

    def measure(self, recall: float) -> dict[str, float]:
        """Set ``probes`` to the fewest that find this share of the 64 nearest, on 512 rows of the store."""
        import torch

        sample = np.sort(np.random.default_rng(0).permutation(len(self))[:_SAMPLE])
        places = torch.from_numpy(sample).to(self.keys.device)
        queries, document = self.keys[places], self.document[places]
        k = min(MEASURED, len(self))
        _, rows = self.search(queries, document, k, len(self.heads))
        place_of = np.empty(len(self), np.int64)
        place_of[self.rows.cpu().numpy()] = np.arange(len(self))
        lists = np.searchsorted(np.asarray(self.starts), place_of[np.maximum(rows, 0)], side="right") - 1
        order = self._nearest(self.coder.codes(queries), len(self.heads)).cpu().numpy()
        rank = np.take_along_axis(np.argsort(order, axis=1), lists, 1)[rows >= 0]
        within = np.cumsum(np.bincount(rank, minlength=len(self.heads))) / max(1, len(rank))
        self.probes = min(len(self.heads), int(np.searchsorted(within, recall)) + 1)
        return {"lists": len(self.heads), "probes": self.probes, "recall": round(float(within[self.probes - 1]), 4)}

    def _search(
        self, queries: torch.Tensor, codes: Codes, document: torch.Tensor, nearest: torch.Tensor, k: int
    ) -> Found:
        """Of one block of queries."""
        import torch

        if queries.device.type == "cpu" and can_compile():
            from mnemic.neighbours.select import Candidates
        else:
            from mnemic.neighbours.select_torch import Candidates  # type: ignore[assignment]
        kept = Candidates(codes, document, min(k + SLACK, len(self)))
        tile = _TILE if queries.device.type == "cpu" else _QUERIES
        for first, last in pairwise((0, *_ROUNDS, nearest.shape[1])):
            for which, begin, end in self._tiles(nearest[:, first:last]):
                stored = self.codes[begin:end]
                for part in torch.split(which, tile):
                    near = products(codes.code.index_select(0, part), stored.code)
                    kept.take(part, near, stored, self.document[begin:end], begin)
            if last < nearest.shape[1]:
                kept.tighten()
        return kept.nearest(queries, self.keys, self.rows, k)

    def _tiles(self, lists: torch.Tensor) -> Iterator[tuple[torch.Tensor, int, int]]:
        """(queries, begin and end of a list that they look at), for the ``lists`` int64 [b, some] of each query."""
        import torch

        if not lists.shape[1]:
            return
        named, order = torch.sort(lists.reshape(-1), stable=True)
        queries = order // lists.shape[1]
        present, counts = torch.unique_consecutive(named, return_counts=True)
        for part, name in zip(torch.split(queries, counts.tolist()), present.tolist(), strict=True):
            if self.starts[name] < self.starts[name + 1]:
                yield part, self.starts[name], self.starts[name + 1]

    def _distances(self, codes: Codes) -> torch.Tensor:
        """Squared distances to the centroids, less the codes' own lengths: float32 [b, lists]."""
        heads = self.heads
        return heads.norm - (2.0 * codes.scale[:, None] * heads.scale) * products(codes.code, heads.code).float()

    def _nearest(self, codes: Codes, count: int) -> torch.Tensor:
        """The ``count`` nearest lists, nearest first: int64 [b, count]."""
        import torch

        distances = self._distances(codes)
        if count < distances.shape[1]:
            return distances.topk(count, dim=1, largest=False).indices
        return torch.sort(distances, dim=1, stable=True).indices


def _parts(codes: Codes) -> Iterator[Codes]:
    for begin in range(0, len(codes), _QUERIES):
        yield codes[begin : begin + _QUERIES]


def _centroids(codes: Codes) -> torch.Tensor:
    """Means of k-means (Lloyd's) on a sample, float32 [lists, d]; a list of about `ROWS_PER_LIST` rows each."""
    import torch

    count = max(1, round(len(codes) / ROWS_PER_LIST))
    drawn = np.random.default_rng(0).permutation(len(codes))[: _TRAINING_ROWS * count]
    sample = codes[torch.from_numpy(drawn).to(codes.code.device)].values()
    centroids = sample[:count].clone()
    for _ in range(_ITERATIONS):
        heads = centroids.square().sum(1)
        nearest = torch.cat([(heads - 2.0 * part @ centroids.T).argmin(1) for part in torch.split(sample, _QUERIES)])
        sums = torch.zeros_like(centroids).index_add_(0, nearest, sample)
        sizes = torch.bincount(nearest, minlength=count)
        centroids = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centroids)
    return centroids
