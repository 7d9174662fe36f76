"""The search of a store that no worker holds whole: parts of it answer apart, and what they say is merged exactly.

A part is a range of lists with the rows in them. It answers the queries of any fragment that look into its lists, its
halo, with its best candidates: each an estimated distance with its place in the store, by which candidates are chosen,
and its exact distance with its row, by which they are ordered. The best of all parts' candidates are the candidates of
the whole store, so the answer is `Lists.search`'s to the last bit, whatever the number of parts.

A query whose lists hold fewer than k rows of other documents looks at all lists. That is known before the search, from
the sizes of the lists and the lists of its own document's rows, so no part waits for another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnemic.neighbours.layout import nearest_lists
from mnemic.neighbours.lists import SLACK, Lists, lists_to_look_at
from mnemic.neighbours.select import NONE
from mnemic.threads import side_by_side

if TYPE_CHECKING:
    import torch

    from mnemic.neighbours.codes import Codes

    Integers = npt.NDArray[np.int64]

Range = tuple[int, int]
"""Lists from the first to before the last."""

_QUERIES = 4096
_SHORT = 1024  # queries at once that look at all lists
_MERGED = 2048  # queries at once
_ROW = 0xFFFFFFFF


def ranges(sizes: Integers, parts: int) -> list[Range]:
    """Up to so many ranges of lists that hold about the same number of rows each, none of them without any."""
    before = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.searchsorted(before, np.linspace(0, before[-1], parts + 1)[1:-1])
    bounds = np.unique(np.concatenate([[0], cuts, [len(sizes)]])).tolist()
    return [(first, last) for first, last in pairwise(bounds) if before[last] > before[first]]


@dataclass(frozen=True)
class Partial:
    """What a part knows of some queries: their places int64 [m], and candidates int64 [m, c], `NONE` where there are
    fewer: ``order``, estimated distance above place, and ``named``, exact distance above row."""

    queries: Integers
    order: Integers
    named: Integers


@dataclass(frozen=True)
class Part:
    """``held`` has the rows of a ``range`` of lists, of a store with ``sizes`` int64 [lists] rows in all of them."""

    held: Lists
    range: Range
    sizes: Integers

    def search(self, queries: torch.Tensor, document: torch.Tensor, stored: torch.Tensor, k: int) -> Partial:
        """The candidates here for ``queries`` [b, d] of float16 that look into the range.

        ``document`` is the number of each query's own, -1 for one without rows in the store; ``stored`` bool [b] are
        the queries that are rows of the store. All rows of a document must come together.
        """
        import torch

        count = candidates_of(k, int(self.sizes.sum()))
        codes = self.held.coder.codes(queries)
        nearest, short = self._looked_at(codes, document, stored, k)
        asked = torch.nonzero(~short).flatten()
        made = [self._best(queries, codes, document, asked, nearest[asked], count)]
        for some in torch.split(torch.nonzero(short).flatten(), _SHORT):
            every = nearest_lists(self.held.heads, codes[some], len(self.sizes))
            made.append(self._best(queries, codes, document, some, every, count))
        joined = (np.concatenate(parts) for parts in zip(*((p.queries, p.order, p.named) for p in made), strict=True))
        return Partial(*joined)

    def _looked_at(
        self, codes: Codes, document: torch.Tensor, stored: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The lists that each query looks at, int64 [b, some], and whether those hold too little: bool [b]."""
        import torch

        lists, total = len(self.sizes), int(self.sizes.sum())
        wanted = min(k, total)
        nearest = nearest_lists(self.held.heads, codes, lists_to_look_at(self.held.probes, wanted, lists, total))
        if nearest.shape[1] == lists:
            return nearest, torch.zeros(len(nearest), dtype=torch.bool, device=nearest.device)
        sizes = torch.from_numpy(self.sizes).to(nearest.device)
        own = stored & (document >= 0)
        place, counts = torch.unique(document[own] * lists + self.held.assigned(codes[own]), return_counts=True)
        asked = document[:, None] * lists + nearest
        found = torch.searchsorted(place, asked).clamp(max=max(0, len(place) - 1))
        of_own = torch.where(place[found] == asked, counts[found], 0) if len(place) else torch.zeros_like(asked)
        return nearest, (sizes[nearest] - of_own).sum(1) < wanted

    def _best(
        self,
        queries: torch.Tensor,
        codes: Codes,
        document: torch.Tensor,
        asked: torch.Tensor,
        nearest: torch.Tensor,
        count: int,
    ) -> Partial:
        """Of those ``asked`` int64 [m] that look into the range, by the lists ``nearest`` int64 [m, some] of each."""
        import torch

        first, last = self.range
        here = torch.nonzero(((nearest >= first) & (nearest < last)).any(1)).flatten()
        here = here[torch.argsort(nearest[here, 0], stable=True)]
        before = int(self.sizes[:first].sum())

        def answer(block: torch.Tensor) -> tuple[Integers, Integers]:
            which = asked[block]
            kept = self.held.candidates(codes[which], document[which], nearest[block], count)
            order, named = kept.kept(queries[which], self.held.keys, self.held.rows)
            return np.where(order == NONE, NONE, order + before), named

        found = side_by_side(answer, list(torch.split(here, _QUERIES)) if len(here) else [], queries.device.type)
        empty = np.empty((0, count), np.int64)
        order, named = (np.concatenate([empty, *(part[side] for part in found)]) for side in (0, 1))
        return Partial(asked[here].cpu().numpy(), order, named)


def candidates_of(k: int, rows: int) -> int:
    """How many candidates are kept of a store with so many rows."""
    return min(k + SLACK, rows)


def merged(partials: Sequence[Partial], queries: int, k: int) -> tuple[npt.NDArray[np.float32], Integers]:
    """What the whole store answers to ``queries`` queries: distances float32 [queries, k] and rows int64, as `Lists`.

    ``partials`` are of all parts, each part once.
    """
    distances = np.full((queries, k), np.inf, np.float32)
    rows = np.full((queries, k), -1, np.int64)
    if not partials:
        return distances, rows
    asked = np.concatenate([partial.queries for partial in partials])
    order = np.concatenate([partial.order for partial in partials])
    named = np.concatenate([partial.named for partial in partials])
    sorting = np.argsort(asked, kind="stable")
    ends = np.searchsorted(asked[sorting], np.arange(queries + 1))
    count = order.shape[1]
    for begin in range(0, queries, _MERGED):
        last = min(begin + _MERGED, queries)
        mine, heads = sorting[ends[begin] : ends[last]], ends[begin : last + 1]
        most = int(np.diff(heads).max())
        if most == 0:
            continue
        query = asked[mine] - begin
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
