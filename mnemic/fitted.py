"""The fragments of `events` that the tree of clusters was fitted to; the others came since, and their drift is counted.

A fragment has a larger number than those before it, so the number of the last one says it, until fragments are merged.
Then the row id of the last event takes its place, which stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnemic.dataset import Snapshot

LAST = "last"
LAST_ROW = "last_row"
"""Results in the record of `clusters`: the last fragment of `events` then, and its last row once some were merged."""


def fitted_fragments(events: Snapshot, record: Mapping[str, Any] | None) -> frozenset[int]:
    """Ids of the fragments with the events that the tree was fitted to which `clusters` holds with this ``record``."""
    results = (record or {}).get("found") or {}
    if LAST_ROW not in results:
        return frozenset(fragment.id for fragment in events.fragments if fragment.id <= results.get(LAST, -1))
    last = results[LAST_ROW]
    return frozenset(one.id for one in events.fragments if one.rows and events.first_row(one.id) <= last)
