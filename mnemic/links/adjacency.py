"""Adjacency lists that stand end to end, as of nodes and their neighbours: entries of some lists, and the best ones."""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Floats, Integers


def entries_of(first: Integers, lists: Integers) -> tuple[Integers, Integers]:
    """For each entry of ``lists`` [n] its place in ``lists`` and its own place, int64 [entries] each, in their order.

    List k has the entries from ``first[k]`` to before ``first[k + 1]``.
    """
    counts = first[lists + 1] - first[lists]
    owners = np.repeat(np.arange(len(lists)), counts)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    return owners, first[lists][owners] + within


def first_of_each(owners: Integers, values: Floats) -> tuple[Integers, Integers]:
    """The distinct ``owners`` [n], ascending, and the place of the largest of the ``values`` [n] of each.

    Of equal values it is the first.
    """
    order = np.lexsort((-values, owners))
    begins = np.flatnonzero(np.diff(owners[order], prepend=-1))
    return owners[order[begins]], order[begins]
