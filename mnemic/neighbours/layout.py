"""The division of a store's keys into lists, and the number of lists that a query probes.

Both need the keys in their order only: centroids are trained on a sample, and one pass that holds some thousands of
keys at a time does the rest. So a store need not fit into memory, and a part of it is laid out as the whole is.

The number of probes is measured, not set. It is the smallest that holds the recipe's share of the 64 nearest keys of
other documents, on a sample of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mnemic.arrays import Integers
from mnemic.neighbours.codes import Coder, Codes, products, rounded

if TYPE_CHECKING:
    import torch


ROWS_PER_LIST = 384
MOST_LISTS = 1 << 14
"""Lists of a store of six million rows; those of larger ones are longer, so that centroids stay small."""

MEASURED = 64
"""Neighbours of a query whose recall decides the number of probes."""

AT_ONCE = 8192
"""Keys that are read together."""

_SAMPLE = 512
_TRAINING_ROWS = 64  # for each list
_ITERATIONS = 8
_QUERIES = 4096  # of one product with the centroids
_READ = 1 << 16  # sampled keys that are read together


class Keys(Protocol):
    """The keys of a store, float16 [n, d], and the number of the document of each, int64 [n], by row."""

    def __len__(self) -> int: ...

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All keys, float16 [b, d], and their documents, int64 [b], some thousands at a time."""

    def take(self, rows: Integers) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys, float16 [m, d], and documents, int64 [m], of ``rows`` int64 [m], which ascend."""


@dataclass(frozen=True)
class InMemoryKeys:
    """``keys`` float16 [n, d] and ``document`` int64 [n] in memory, with their codes where these are made already."""

    keys: torch.Tensor
    document: torch.Tensor
    codes: Codes | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for begin in range(0, len(self), AT_ONCE):
            yield self.keys[begin : begin + AT_ONCE], self.document[begin : begin + AT_ONCE]

    def take(self, rows: Integers) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys float16 [m, d] and documents int64 [m] of ``rows`` int64 [m]."""
        import torch

        places = torch.from_numpy(rows).to(self.keys.device)
        return self.keys[places], self.document[places]


@dataclass(frozen=True)
class Layout:
    """Decides a search beside the keys: ``centroids`` float32 [lists, d], and the ``probes`` of a query in lists.

    Centroids are of codes: centred and rotated as `Coder` does it to keys.
    """

    centroids: torch.Tensor
    probes: int


@dataclass(frozen=True)
class Measured:
    """Rows of each list, ``sizes`` int64 [lists]; the fewest ``probes`` that reach the recall; and that ``recall``."""

    sizes: Integers
    probes: int
    recall: float


def coder_of(keys: Keys) -> Coder:
    """The coder of a store, by a sample of its keys."""
    return Coder.of(keys.take(Coder.sampled(len(keys)))[0])


def centroids_of(keys: Keys, coder: Coder) -> torch.Tensor:
    """Centroids of k-means (Lloyd's) on a sample, float32 [lists, d]; a list has about `ROWS_PER_LIST` rows."""
    import torch

    count = min(MOST_LISTS, max(1, round(len(keys) / ROWS_PER_LIST)))
    drawn = np.random.default_rng(0).permutation(len(keys))[: _TRAINING_ROWS * count]
    ordered = np.sort(drawn)
    if isinstance(keys, InMemoryKeys) and keys.codes is not None:
        read = [keys.codes[torch.from_numpy(ordered).to(keys.keys.device)]]
    else:
        read = [coder.codes(keys.take(ordered[at : at + _READ])[0]) for at in range(0, len(ordered), _READ)]
    place = torch.from_numpy(np.searchsorted(ordered, drawn)).to(read[0].code.device)
    sample = Codes(*(torch.cat(parts)[place] for parts in zip(*((c.code, c.scale, c.norm) for c in read), strict=True)))
    centroids = sample[:count].values()
    for _ in range(_ITERATIONS):
        heads, sums = centroids.square().sum(1), torch.zeros_like(centroids)
        sizes = torch.zeros(count, dtype=torch.int64, device=centroids.device)
        for begin in range(0, len(sample), _QUERIES):
            part = sample[begin : begin + _QUERIES].values()
            nearest = (heads - 2.0 * part @ centroids.T).argmin(1)
            sums.index_add_(0, nearest, part)
            sizes += torch.bincount(nearest, minlength=count)
        centroids = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centroids)
    return centroids


def head_distances(heads: Codes, codes: Codes) -> torch.Tensor:
    """Squared distances to the centroids, less the codes' own lengths: float32 [b, lists]."""
    return heads.norm - (2.0 * codes.scale[:, None] * heads.scale) * products(codes.code, heads.code).float()


def nearest_lists(heads: Codes, codes: Codes, count: int) -> torch.Tensor:
    """The ``count`` nearest lists, nearest first: int64 [b, count]."""
    import torch

    nearest = [codes.code[:0, :1].expand(0, count).long()]
    for begin in range(0, len(codes), _QUERIES):
        distances = head_distances(heads, codes[begin : begin + _QUERIES])
        if count < distances.shape[1]:
            nearest.append(distances.topk(count, dim=1, largest=False).indices)
        else:
            nearest.append(torch.sort(distances, dim=1, stable=True).indices)
    return torch.cat(nearest)


def lists_of(heads: Codes, codes: Codes) -> torch.Tensor:
    """The list that each row is in: int64 [b]."""
    import torch

    parts = (codes[begin : begin + _QUERIES] for begin in range(0, len(codes), _QUERIES))
    return torch.cat([codes.code[:0, 0].long(), *(head_distances(heads, part).argmin(1) for part in parts)])


@dataclass
class NearestKeys:
    """The 64 nearest keys in other documents to each of 512 rows of a store, updated while all keys go by.

    ``queries`` float16 [s, d] are these rows, ``document`` int64 [s] their documents. ``best`` float32 [s, 64] are
    squared distances less the queries' lengths, infinite where there are fewer. ``named`` int64 [s, 64] are the names
    that `look_at` got for the keys.
    """

    queries: torch.Tensor
    document: torch.Tensor
    best: torch.Tensor
    named: torch.Tensor

    @classmethod
    def of(cls, keys: Keys) -> NearestKeys:
        import torch

        queries, document = keys.take(np.sort(np.random.default_rng(0).permutation(len(keys))[:_SAMPLE]))
        empty = torch.empty((len(queries), 0), device=queries.device)
        return cls(queries, document, empty, empty.long())

    def look_at(self, keys: torch.Tensor, document: torch.Tensor, names: torch.Tensor) -> None:
        """Compare ``keys`` float16 [b, d] of ``document`` int64 [b]; ``names`` int64 [b] is what `named` calls them."""
        import torch

        stored = keys.float()
        gaps = torch.addmm(stored.square().sum(1)[None], self.queries.float(), stored.T, alpha=-2.0)
        gaps.masked_fill_(self.document[:, None] == document, torch.inf)
        self.best = torch.cat([self.best, gaps], 1)
        self.named = torch.cat([self.named, names.expand(len(gaps), -1)], 1)
        if self.best.shape[1] > MEASURED:
            self.best, place = self.best.topk(MEASURED, dim=1, largest=False)
            self.named = self.named.gather(1, place)


def measured(keys: Keys, coder: Coder, centroids: torch.Tensor, recall: float) -> Measured:
    """Read all keys once: count the rows of each list, and rank the lists that hold the nearest of 512 sampled rows.

    ``centroids`` float32 [lists, d] are of codes; ``recall`` is the share of the nearest that probes must find.
    """
    import torch

    heads, count, nearest = rounded(centroids), len(centroids), NearestKeys.of(keys)
    sizes = torch.zeros(count, dtype=torch.int64, device=centroids.device)
    coded, read = keys.codes if isinstance(keys, InMemoryKeys) else None, 0
    for part, document in keys.batches():
        lists = lists_of(heads, coder.codes(part) if coded is None else coded[read : read + len(part)])
        read += len(part)
        sizes += torch.bincount(lists, minlength=count)
        nearest.look_at(part, document, lists)
    order = torch.argsort(nearest_lists(heads, coder.codes(nearest.queries), count), dim=1)
    rank = order.gather(1, nearest.named)[torch.isfinite(nearest.best)]
    within = np.cumsum(np.bincount(rank.cpu().numpy(), minlength=count)) / max(1, len(rank))
    probes = min(count, int(np.searchsorted(within, recall)) + 1)
    return Measured(sizes.cpu().numpy(), probes, round(float(within[probes - 1]), 4))
