"""The comparisons that become rows, so that n letters of one template do not give n * n / 2 of them.

A document is listed with what it fell to, and of those that it was found distinct from with the `NEAREST` most similar
(of equals the better ranked). Few documents have more: a comparison needs signatures that agree almost as the threshold
asks. Of the others a kept document is listed only with those that link it: wherever documents are grouped by pairs of
at least a similarity that is a multiple of 1 / `LEVELS`, as the teacher does, the listed pairs give the same groups as
all comparisons. So no document adds more than `NEAREST` + 1 rows and, on average, `LEVELS`; the rest is counted.

Where no document has more, the rows are all comparisons, as they were before this bound, so it has no version of its
own. Nothing here changes what falls. The choice is a rule over ranks and similarities, so no order of arrival shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnemic.arrays import Integers
from mnemic.compiled import compiled

NEAREST = 32
"""Comparisons of a document that are listed though it was found distinct: all of them where there are no more."""

LEVELS = 20
"""Similarities at which the groups stay what they are: 0.05, 0.1, 0.15 and so on."""


def unlinked(documents: int) -> Integers:
    """Documents without links, at any level: int32 [`LEVELS`, documents]."""
    return np.tile(np.arange(documents, dtype=np.int32), (LEVELS, 1))


@compiled
def listed(document: int, others: Any, similarity: Any, fallen: bool, nearest: int, parent: Any) -> Any:
    """Which comparisons of a document are listed, bool [n]; those of kept documents are linked in ``parent``.

    ``others`` int64 [n] and ``similarity`` float64 [n]; the last is that with the document that it fell to, if it is
    ``fallen``.
    """
    size = len(others)
    distinct = size - 1 if fallen else size
    chosen = np.ones(size, np.bool_)
    if distinct > nearest:
        least = np.partition(similarity[:distinct], distinct - nearest)[distinct - nearest]
        above = 0
        for i in range(distinct):
            above += similarity[i] > least
        last = np.sort(others[:distinct][similarity[:distinct] == least])[nearest - above - 1]
        for i in range(distinct):
            chosen[i] = similarity[i] > least or (similarity[i] == least and others[i] <= last)
    if fallen:
        return chosen
    for nearer in (True, False):
        for i in range(size):
            if chosen[i] != nearer:
                continue
            level = _level(similarity[i])
            linking = level > 0 and _root(parent[level - 1], document) != _root(parent[level - 1], others[i])
            chosen[i] |= linking
            for one in range(level if linking else 0):
                _link(parent[one], document, others[i])
    return chosen


@compiled
def _level(similarity: float) -> int:
    """The highest level that a similarity reaches, by the very numbers that somebody would compare it with."""
    level = int(similarity * LEVELS)
    while level > 0 and similarity < level / LEVELS:
        level -= 1
    while level < LEVELS and similarity >= (level + 1) / LEVELS:
        level += 1
    return level


@compiled
def _root(parent: Any, document: int) -> int:
    while parent[document] != document:
        parent[document] = parent[parent[document]]
        document = parent[document]
    return document


@compiled
def _link(parent: Any, one: int, other: int) -> None:
    one, other = _root(parent, one), _root(parent, other)
    parent[max(one, other)] = min(one, other)
