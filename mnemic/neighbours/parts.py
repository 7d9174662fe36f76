"""The search of a store that no worker holds whole: parts answer apart, and their answers are merged exactly.

A part is a range of lists with their rows. It answers every query that probes one of its lists. For each candidate it
returns (estimated distance, position), used to choose candidates, and (exact distance, row), used to order them. The
best of all parts' candidates are the candidates of the whole store, so the answer is `Lists.search`'s to the last bit,
whatever the number of parts.

A query whose lists hold fewer than k rows of other documents probes all lists. The sizes of the lists and the lists of
its own document's rows tell that before the search, so no part waits for another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.arrays import Integers
from mnemic.neighbours.layout import nearest_lists
from mnemic.neighbours.lists import SLACK, Lists, lists_to_look_at
from mnemic.neighbours.select import NONE
from mnemic.threads import side_by_side

if TYPE_CHECKING:
    import torch

    from mnemic.neighbours.codes import Codes


Range = tuple[int, int]
"""Lists from the first to before the last."""

_QUERIES = 4096
_SHORT = 1024  # queries at once that probe all lists
_MERGED = 2048  # queries at once
_ROW = 0xFFFFFFFF


def ranges(sizes: Integers, parts: int) -> list[Range]:
    """Up to ``parts`` ranges of lists with about as many rows each and never none; ``sizes`` int64 [lists] are rows."""
    before = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.searchsorted(before, np.linspace(0, before[-1], parts + 1)[1:-1])
    bounds = np.unique(np.concatenate([[0], cuts, [len(sizes)]])).tolist()
    return [(first, last) for first, last in pairwise(bounds) if before[last] > before[first]]


@dataclass(frozen=True)
class Partial:
    """A part's candidates for some queries, whose places in the batch are ``queries`` int64 [m].

    ``order`` int64 [m, c] has the estimated distance in the high half and the position in the low half, ``named`` int64
    [m, c] the exact distance and the row. Both are `NONE` where there are fewer candidates.
    """

    queries: Integers
    order: Integers
    named: Integers


@dataclass(frozen=True)
class Part:
    """A ``range`` of a store's lists. ``lists`` has their rows; ``sizes`` int64 [lists] are the rows of all lists."""

    lists: Lists
    range: Range
    sizes: Integers

    def search(self, queries: torch.Tensor, document: torch.Tensor, stored: torch.Tensor, k: int) -> Partial:
        """The candidates of this part for those of ``queries`` float16 [b, d] that probe a list of the range.

        ``document`` int64 [b] is the number of each query's own document, -1 for one without rows in the store;
        ``stored`` bool [b] marks queries that are rows of the store. All rows of a document must be in one batch.
        """
        import torch

        count = candidates_of(k, int(self.sizes.sum()))
        codes = self.lists.coder.codes(queries)
        nearest, short = self._probed(codes, document, stored, k)
        usual = torch.nonzero(~short).flatten()
        partials = [self._best(queries, codes, document, usual, nearest[usual], count)]
        for some in torch.split(torch.nonzero(short).flatten(), _SHORT):
            every = nearest_lists(self.lists.heads, codes[some], len(self.sizes))
            partials.append(self._best(queries, codes, document, some, every, count))
        joined = (
            np.concatenate(parts) for parts in zip(*((p.queries, p.order, p.named) for p in partials), strict=True)
        )
        return Partial(*joined)

    def _probed(
        self, codes: Codes, document: torch.Tensor, stored: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The lists that each query probes, int64 [b, probes], and whether those hold too few rows, bool [b]."""
        import torch

        count_of_lists, total = len(self.sizes), int(self.sizes.sum())
        count = min(k, total)
        nearest = nearest_lists(
            self.lists.heads, codes, lists_to_look_at(self.lists.probes, count, count_of_lists, total)
        )
        if nearest.shape[1] == count_of_lists:
            return nearest, torch.zeros(len(nearest), dtype=torch.bool, device=nearest.device)
        sizes = torch.from_numpy(self.sizes).to(nearest.device)
        own = stored & (document >= 0)
        place, counts = torch.unique(
            document[own] * count_of_lists + self.lists.assigned(codes[own]), return_counts=True
        )
        probed = document[:, None] * count_of_lists + nearest
        spot = torch.searchsorted(place, probed).clamp(max=max(0, len(place) - 1))
        of_own = torch.where(place[spot] == probed, counts[spot], 0) if len(place) else torch.zeros_like(probed)
        return nearest, (sizes[nearest] - of_own).sum(1) < count

    def _best(
        self,
        queries: torch.Tensor,
        codes: Codes,
        document: torch.Tensor,
        queried: torch.Tensor,
        nearest: torch.Tensor,
        count: int,
    ) -> Partial:
        """Candidates of those ``queried`` int64 [m] whose lists, ``nearest`` int64 [m, probes], are in the range."""
        import torch

        first, last = self.range
        here = torch.nonzero(((nearest >= first) & (nearest < last)).any(1)).flatten()
        here = here[torch.argsort(nearest[here, 0], stable=True)]
        before = int(self.sizes[:first].sum())

        def answer(block: torch.Tensor) -> tuple[Integers, Integers]:
            which = queried[block]
            candidates = self.lists.candidates(codes[which], document[which], nearest[block], count)
            order, named = candidates.best(queries[which], self.lists.keys, self.lists.rows)
            return np.where(order == NONE, NONE, order + before), named

        answers = side_by_side(answer, list(torch.split(here, _QUERIES)) if len(here) else [], queries.device.type)
        empty = np.empty((0, count), np.int64)
        order, named = (np.concatenate([empty, *(part[side] for part in answers)]) for side in (0, 1))
        return Partial(queried[here].cpu().numpy(), order, named)


def candidates_of(k: int, rows: int) -> int:
    """The number of candidates of a query, in a store with so many rows."""
    return min(k + SLACK, rows)


def merged(partials: Sequence[Partial], queries: int, k: int) -> tuple[npt.NDArray[np.float32], Integers]:
    """The answer of the whole store: squared distances float32 [queries, k] and rows int64, as `Lists.search` gives it.

    ``partials`` are of all parts, each part once; ``queries`` is the number of queries.
    """
    distances = np.full((queries, k), np.inf, np.float32)
    rows = np.full((queries, k), -1, np.int64)
    if not partials:
        return distances, rows
    queried = np.concatenate([partial.queries for partial in partials])
    order = np.concatenate([partial.order for partial in partials])
    named = np.concatenate([partial.named for partial in partials])
    sorting = np.argsort(queried, kind="stable")
    ends = np.searchsorted(queried[sorting], np.arange(queries + 1))
    count = order.shape[1]
    for begin in range(0, queries, _MERGED):
        last = min(begin + _MERGED, queries)
        mine, heads = sorting[ends[begin] : ends[last]], ends[begin : last + 1]
        most = int(np.diff(heads).max())
        if most == 0:
            continue
        query = queried[mine] - begin
        slot = np.arange(len(mine)) - (heads[:-1] - heads[0])[query]
        estimated, exact = (np.full((last - begin, most, count), NONE, np.int64) for _ in range(2))
        estimated[query, slot], exact[query, slot] = order[mine], named[mine]
        flat, best = estimated.reshape(last - begin, -1), exact.reshape(last - begin, -1)
        if most > 1:
            chosen = np.argpartition(flat, count - 1, axis=1)[:, :count]
            best = np.take_along_axis(best, chosen, 1)
        best = np.sort(best, axis=1)[:, :k]
        there = best != NONE
        squared = (best >> 32).astype(np.int32).view(np.float32)
        distances[begin:last, : best.shape[1]] = np.where(there, squared, np.inf)
        rows[begin:last, : best.shape[1]] = np.where(there, best & _ROW, -1)
    return distances, rows
