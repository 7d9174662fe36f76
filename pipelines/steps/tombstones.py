"""What the reader keeps out: documents that were removed, where their sources still have them.

A removed document is known by its source, its place there and its text (`mnemic.removals.mark_of`). The same text at
another place, and an edited text at the same place, are other documents and are read. A document that is readmitted is
read with the item that it stands in, and its row of `removals` goes once it is there.
"""

from __future__ import annotations

import pyarrow.compute as pc

from mnemic.dataset import Store
from mnemic.quoting import one_of
from mnemic.removals import NAME, removal_rows
from pipelines.steps.contracts import Context

REASON = "It was removed from this bank; `mnemic remove BANK --again {document}` lets the next build read it."

_AT_ONCE = 1000


def marks(store: Store) -> dict[str, bool]:
    """The marks of the documents that are not read, and whether each was erased."""
    rows = removal_rows(store[NAME].snapshot())
    rows = rows.filter(pc.invert(rows["readmitted"]))
    return dict(zip(rows["mark"].to_pylist(), rows["erased"].to_pylist(), strict=True))


def readmitted_items(store: Store) -> set[str]:
    """Keys of the items that documents stand in which are to be read again: as they were, and as they are by now."""
    rows = removal_rows(store[NAME].snapshot())
    rows = rows.filter(rows["readmitted"])
    items, rejects = set(rows["item"].to_pylist()), store["rejects"].snapshot()
    if rejects is None:
        return items
    reasons = [REASON.format(document=one) for one in rows["document"].to_pylist()]
    for start in range(0, len(reasons), _AT_ONCE):
        left_out = f"step = 'read' AND {one_of('reason', reasons[start : start + _AT_ONCE])}"
        items |= set(rejects.table(["input"], left_out)["input"].to_pylist())
    return items


def forget_readmitted(context: Context) -> None:
    """Delete the rows of documents that were read again."""
    removals = context.store[NAME]
    snapshot = removals.snapshot()
    if snapshot is not None and snapshot.count("readmitted"):
        context.commit(lambda: removals.delete("readmitted"))
