"""Documents to which nearly every document of a tenant leads: the README of a folder, whose title is the project's.

Such a link says as little as a function word, and whatever is asked would raise that document. So it leads nowhere,
neither from the question nor from sentences. How many lead to a document is counted in a sample: the documents with
the smallest ids, which are hashes, so the sample is drawn at random and is always the same.
"""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np

from mnemic.links.hops import CHARACTERS, leads
from mnemic.links.titles import Titles
from mnemic.links.units import UnitRows

SHARE = 0.5
"""Share of the other documents that lead to a hub, at least."""

FEWEST = 8
"""Documents that lead to a hub, at least: of a few pages most may well name one that answers."""

SAMPLE = 128
"""Documents of a tenant that are counted."""

UNITS = 32
"""First sentences of them that are read."""


class Hubs:
    """The hubs of the tenants that were asked for, as places in ``titles``; a tenant's are counted once."""

    def __init__(self, titles: Titles, units: UnitRows) -> None:
        self._titles, self._units = titles, units
        self._of_tenant: dict[int, frozenset[int]] = {}
        self._lock = threading.Lock()

    def __contains__(self, place: object) -> bool:
        if not isinstance(place, int):
            return False
        tenant = int(self._titles.tenants[place])
        with self._lock:
            if tenant not in self._of_tenant:
                self._of_tenant[tenant] = self._count(tenant)
            return place in self._of_tenant[tenant]

    def _count(self, tenant: int) -> frozenset[int]:
        sample = np.flatnonzero(self._titles.tenants == tenant)[:SAMPLE].tolist()
        if len(sample) <= FEWEST:
            return frozenset()
        groups = [self._units.rows[self._units.first[one] : self._units.first[one + 1]][:UNITS] for one in sample]
        naming = Counter[int]()
        for one, texts in zip(sample, self._units.texts(groups), strict=True):
            stated = self._titles.stated_links(one)
            naming.update(
                {
                    place
                    for text in texts
                    for place, _ in leads(self._titles, one, text[:CHARACTERS], (), tenant, stated)
                    if place != one
                }
            )
        counted = {*sample}
        return frozenset(
            place for place, count in naming.items() if count >= max(SHARE * (len(sample) - (place in counted)), FEWEST)
        )
