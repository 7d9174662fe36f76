"""Documents that are worth comparing: those that share buckets, where they are not listed pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.arrays import Integers, Signatures
from mnemic.compiled import compiled


class Buckets:
    """The documents, numbered by rank, that share keys; and the kept ones of every bucket so far.

    Two documents are worth comparing if they share at least ``least`` buckets and their signatures agree in at least
    ``agreeing`` components.
    """

    def __init__(
        self, documents: Integers, groups: Integers, signatures: Signatures, least: int = 1, agreeing: int = 0
    ) -> None:
        """Document ``documents[i]`` is in bucket ``groups[i]``, int64 [n] each; buckets are numbered from 0."""
        count = len(signatures)
        ordered, bounds = _by_document(documents, groups, count)
        sizes = np.bincount(groups, minlength=1)
        starts = np.cumsum(sizes) - sizes
        filled = np.zeros(len(sizes), np.int64)
        members = np.empty(len(groups), np.int64)
        self.filled = (ordered, bounds, starts, filled, members)
        self.arrays = (least, agreeing, signatures, np.zeros(count, np.int64), *self.filled)

    def candidates(self, document: int) -> tuple[Integers, Integers]:
        """Kept documents to compare this one with, int64 [c], and the number of buckets that each shares, int64 [c].

        The most similar by their signatures come first, of equals the better ranked.
        """
        size, proposed = propose(document, np.empty((64, 3), np.int64), 0, *self.arrays)
        proposed = proposed[:size]
        order = np.lexsort((proposed[:, 0], -proposed[:, 2]))
        return proposed[order, 0], proposed[order, 1]

    def needed(self, first: int, last: int) -> Integers:
        """Documents that judging ``first`` to ``last - 1`` may compare, int64, ascending."""
        return np.flatnonzero(_needed(first, last, *self.arrays))

    def proposals(self, first: int, last: int, most: int) -> tuple[Integers, Integers]:
        """What `candidates` may propose for ``first``, ``first`` + 1 and so on, each as if all before it were kept.

        The candidates int64 [c, 3] (number, buckets shared, components agreed in) in their order, document by document,
        and the bounds of each int64 [documents + 1]. Ends before ``last``, or after the first document with which they
        are more than ``most``.
        """
        proposed, bounds = _proposals(first, last, most, *self.arrays)
        of_document = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        return proposed[np.lexsort((proposed[:, 0], -proposed[:, 2], of_document))], bounds

    def keep(self, document: int) -> None:
        """Enter a kept document into its buckets."""
        keep_in(document, *self.filled)


@compiled
def keep_in(document: int, groups: Any, bounds: Any, starts: Any, filled: Any, members: Any) -> None:
    for at in range(bounds[document], bounds[document + 1]):
        group = groups[at]
        members[starts[group] + filled[group]] = document
        filled[group] += 1


@compiled
def propose(
    document: int,
    proposed: Any,
    size: int,
    least: int,
    agreeing: int,
    signatures: Any,
    counts: Any,
    groups: Any,
    bounds: Any,
    starts: Any,
    filled: Any,
    members: Any,
) -> tuple[int, Any]:
    """Put a document's candidates (number, buckets shared, components agreed in) behind ``proposed[:size]``."""
    for at in range(bounds[document], bounds[document + 1]):
        group = groups[at]
        for place in range(starts[group], starts[group] + filled[group]):
            counts[members[place]] += 1
    for at in range(bounds[document], bounds[document + 1]):
        group = groups[at]
        for place in range(starts[group], starts[group] + filled[group]):
            other = members[place]
            shared = counts[other]
            counts[other] = 0
            if shared < least or shared == 0:
                continue
            equal = 0
            for k in range(signatures.shape[1]):
                equal += signatures[document, k] == signatures[other, k]
            if equal < agreeing:
                continue
            if size == len(proposed):
                proposed = np.concatenate((proposed, np.empty_like(proposed)))
            proposed[size, 0], proposed[size, 1], proposed[size, 2] = other, shared, equal
            size += 1
    return size, proposed


@compiled
def _needed(
    first: int,
    last: int,
    least: int,
    agreeing: int,
    signatures: Any,
    counts: Any,
    groups: Any,
    bounds: Any,
    starts: Any,
    filled: Any,
    members: Any,
) -> Any:
    proposed, needed = np.empty((256, 3), np.int64), np.zeros(len(counts), np.bool_)
    for document in range(first, last):
        size, proposed = propose(
            document, proposed, 0, least, agreeing, signatures, counts, groups, bounds, starts, filled, members
        )
        needed[document] |= size > 0
        for at in range(size):
            needed[proposed[at, 0]] = True
        keep_in(document, groups, bounds, starts, filled, members)  # as it may be
    for document in range(first, last):
        for at in range(bounds[document], bounds[document + 1]):
            filled[groups[at]] -= 1
    return needed


@compiled
def _proposals(
    first: int,
    last: int,
    most: int,
    least: int,
    agreeing: int,
    signatures: Any,
    counts: Any,
    groups: Any,
    bounds: Any,
    starts: Any,
    filled: Any,
    members: Any,
) -> tuple[Any, Any]:
    proposed, ends = np.empty((256, 3), np.int64), np.zeros(last - first + 1, np.int64)
    size, done = 0, 0
    while first + done < last and size <= most:
        size, proposed = propose(
            first + done, proposed, size, least, agreeing, signatures, counts, groups, bounds, starts, filled, members
        )
        keep_in(first + done, groups, bounds, starts, filled, members)  # as it may be
        done += 1
        ends[done] = size
    for document in range(first, first + done):
        for at in range(bounds[document], bounds[document + 1]):
            filled[groups[at]] -= 1
    return proposed[:size].copy(), ends[: done + 1].copy()


@compiled
def _by_document(documents: Any, groups: Any, count: int) -> tuple[Any, Any]:
    """The groups of document 0, then those of 1, and so on; and the place where those of each begin."""
    bounds = np.zeros(count + 1, np.int64)
    for document in documents:
        bounds[document + 1] += 1
    bounds = np.cumsum(bounds)
    ordered, following = np.empty_like(groups), bounds.copy()
    for at in range(len(documents)):
        ordered[following[documents[at]]] = groups[at]
        following[documents[at]] += 1
    return ordered, bounds
