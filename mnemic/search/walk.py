"""A walk over the smallest rows and the words that they share, beside notes that rank rows.

A question of several steps names one turn, and the next shares a rare word with that one. The walk restarts at the rows
that the search has ranked, goes from a row to its content words and to the rows that have them, and to the rows beside;
each ranked row gets a share of the reciprocal of its rank there. It goes over all rows that meet the condition of the
search and over no other, of each tenant apart, and a word counts by how rare it is among these: so nothing that a
condition leaves out says anything. A walk over the ranked rows alone would gain nothing. (`mnemic.links.push` is such a
walk for a graph of which it meets a small part; here every node is met.)

Constants were chosen on the even questions of LoCoMo's three development conversations with GPT's facts as notes, and
judged on the odd ones (LOG.md). A release with more rows than `mnemic.search.row_words.MOST_ROWS`, and a condition that
more than `MOST_WALKED` of its rows meet, is searched without the walk.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mnemic.arrays import Floats, Integers, RowIds
from mnemic.dataset import Snapshot
from mnemic.dataset.index import Recent, remembered, row_ids_where
from mnemic.links.adjacency import entries_of
from mnemic.search.fusion import RANK_CONSTANT, ranks
from mnemic.search.row_words import RowWords

WALKED = 2.0
"""Weight of a row's reciprocal rank in the walk; a signal of the rows themselves has 1."""

DAMPING = 0.6
"""Share of the walk that goes on; the rest restarts."""

POWER = 2
"""Of a score, from 0 for the least to 1 for the best: the walk restarts at the best rows most."""

COMMON = 0.2
"""Share of a tenant's rows that have a word, above which it joins none."""

BESIDE = 0.5
"""Weight of the way to the row before or after. A word that one of twelve rows has once is worth half of it."""

MOST_WALKED = 5_000
"""Rows of a condition that are walked over."""

MOST_BYTES = 32 << 20
"""Of all graphs that are held of a release, for the conditions that were asked last."""

EXPLAINED = 20
"""Best rows of a walk whose reason names it."""

STEPS = 40
"""Steps of a walk, at most."""

LEFT = 1e-6
"""Share of the walk that a step moves, below which no more steps are taken."""


@dataclass(frozen=True)
class WordGraph:
    """Rows and the words that join them; ``numbers`` [n] are the row ids of rows, nodes 0 to n - 1, in any order.

    What arrives at node ``nodes[k]`` of ``size`` comes from ``ends[first[k] : first[k + 1]]``, of each the share
    ``shares`` of all that leaves there.
    """

    numbers: RowIds
    by_number: Integers
    size: int
    nodes: Integers
    first: Integers
    ends: Integers
    shares: Floats

    @classmethod
    def of(cls, rows: RowWords, places: Integers) -> WordGraph:
        """Of the rows at ``places`` [n], ascending."""
        count = len(places)
        owners, at = entries_of(rows.first, places)
        words, number = np.unique(rows.words[at], return_inverse=True)
        frequency = np.bincount(number)
        of_tenant = np.bincount(rows.tenants[places])[rows.tenants[places]]
        rarity = of_tenant[owners] / frequency[number]
        joins = (frequency[number] > 1) & (rarity * COMMON >= 1)
        owners, counts = owners[joins], rows.counts[at][joins]
        words, number = np.unique(number[joins], return_inverse=True)
        number += count
        weights = np.log(rarity[joins]) * (1 + np.log(counts)) / 10
        new = np.full(len(rows.numbers), -1)
        new[places] = np.arange(count)
        behind = rows.following[places].astype(np.int64)
        behind = np.where(behind >= 0, new[behind], -1)
        before = np.flatnonzero(behind >= 0)
        behind = behind[before]
        size = count + len(words)
        begins = np.concatenate([owners, number, before, behind])
        ends = np.concatenate([number, owners, behind, before])
        lengths = np.concatenate([weights, weights, np.full(2 * len(before), BESIDE)])
        order = np.lexsort((ends, begins))
        begins, ends, lengths = begins[order], ends[order], lengths[order]
        degree = np.bincount(begins, lengths, size)
        first = np.flatnonzero(np.diff(begins, prepend=-1))
        numbers = rows.numbers[places]
        return cls(
            numbers,
            np.argsort(numbers),
            size,
            begins[first],
            first,
            ends,
            lengths / degree[ends],
        )

    @property
    def nbytes(self) -> int:
        arrays = (self.numbers, self.by_number, self.nodes, self.first, self.ends, self.shares)
        return sum(array.nbytes for array in arrays)

    def places(self, numbers: RowIds) -> Integers:
        """The places of the rows ``numbers`` [m], int64 [m]; -1 for one that is not there."""
        at = np.minimum(np.searchsorted(self.numbers, numbers, sorter=self.by_number), len(self.numbers) - 1)
        places = self.by_number[at]
        return np.where(self.numbers[places] == numbers, places, -1)

    def walk(self, restart: Floats) -> Floats:
        """How often a walk that restarts by ``restart``, float64 [n], is at each row: float64 [n].

        What arrives at a row or word without ways is lost, and the order of the others stays.
        """
        begin = np.zeros(self.size)
        begin[: len(restart)] = restart / restart.sum()
        here = begin
        for _ in range(STEPS if len(self.nodes) else 0):
            there = (1 - DAMPING) * begin
            flow = here[self.ends]
            flow *= self.shares
            there[self.nodes] += DAMPING * np.add.reduceat(flow, self.first)
            moved = float(np.abs(there - here).sum())
            here = there
            if moved < LEFT:
                break
        return here[: len(restart)]


class HeldGraphs:
    """The words of a snapshot's smallest rows, and the graphs of the conditions that were asked for last."""

    def __init__(self) -> None:
        self._rows: RowWords | None = None
        self._read = False
        self._graphs: Recent[WordGraph | None] = Recent(MOST_BYTES, lambda graph: 0 if graph is None else graph.nbytes)
        self._lock = threading.Lock()

    def graph(self, events: Snapshot, where: str | None) -> WordGraph | None:
        """Of the smallest rows that satisfy ``where``; None where they are too many."""
        with self._lock:
            if where in self._graphs:
                return self._graphs[where]
            if not self._read:
                self._rows, self._read = RowWords.read(events), True
            if self._rows is None:
                return None
            places = self._rows.among(row_ids_where(events, where))
            graph = WordGraph.of(self._rows, places) if 1 < len(places) <= MOST_WALKED else None
            if remembered(where):
                self._graphs[where] = graph
            return graph


@dataclass(frozen=True)
class Walked:
    """The rows of a ``graph``, and the ``ranks`` [n] of them by how often a walk is there, infinite for never."""

    graph: WordGraph
    ranks: Floats

    def raised(self, facts: pa.Table, scores: Floats, why: Mapping[str, str]) -> tuple[Floats, dict[str, str]]:
        """``scores`` float64 [m] of the rows of ``facts`` and what they get of the walk; reasons by id, beside ``why``.

        The best of the walk have a reason.
        """
        places = self.graph.places(facts["_rowid"].to_numpy())
        ranked = np.where(places >= 0, self.ranks[places], np.inf)
        reasons = dict(why)
        for identity, rank in zip(facts["id"].to_pylist(), ranked.tolist(), strict=True):
            if rank <= EXPLAINED:
                reason = f"words of the best rows: rank {int(rank)}"
                reasons[identity] = f"{why[identity]}, {reason}" if identity in why else reason
        return scores + WALKED / (RANK_CONSTANT + ranked), reasons


def walked(events: Snapshot, facts: pa.Table, scores: Floats, rows: str | None) -> Walked | None:
    """A walk over the smallest rows of ``events`` that satisfy ``rows``, from those of ``facts`` [n] by ``scores``.

    None where they are too many, or none of ``facts`` is among them.
    """
    graph = _of(events).graph(events, rows)
    if graph is None:
        return None
    places = graph.places(facts["_rowid"].to_numpy())
    starts = (places >= 0) & (scores > 0)
    places, values = places[starts], scores[starts]
    if not len(places):
        return None
    least, best = float(values.min()), float(values.max())
    restart = np.zeros(len(graph.numbers))
    restart[places] = ((values - least) / (best - least)) ** POWER if best > least else 1.0
    arrived = graph.walk(restart)
    return Walked(graph, ranks(np.where(arrived > 0, arrived, np.nan)))


_of_snapshot: weakref.WeakKeyDictionary[Snapshot, HeldGraphs] = weakref.WeakKeyDictionary()
_making = threading.Lock()


def _of(events: Snapshot) -> HeldGraphs:
    with _making:
        return _of_snapshot.setdefault(events, HeldGraphs())
